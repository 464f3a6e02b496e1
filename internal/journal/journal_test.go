package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"naru/internal/sitekey"
	"naru/pkg/sign/verify"
)

type site struct {
	key  *sitekey.Key
	ring *verify.Keyring
	path string
}

func newSite(t *testing.T) site {
	t.Helper()
	dir := t.TempDir()
	key, err := sitekey.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := verify.LoadKeys(filepath.Join(dir, sitekey.PublicName))
	if err != nil {
		t.Fatal(err)
	}
	return site{key: key, ring: ring, path: filepath.Join(dir, "log", "journal.jsonl")}
}

func (s site) add(t *testing.T, event string) {
	t.Helper()
	if _, err := Append(s.path, s.key, event, map[string]string{"what": event}); err != nil {
		t.Fatal(err)
	}
}

func (s site) events(t *testing.T) []string {
	t.Helper()
	entries, head, err := Read(s.path, s.ring)
	if err != nil {
		t.Fatal(err)
	}
	if head == "" {
		t.Error("no head")
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Event)
	}
	return out
}

func TestChain(t *testing.T) {
	s := newSite(t)
	for _, event := range []string{"one", "two", "three"} {
		s.add(t, event)
	}
	if got := s.events(t); len(got) != 3 || got[0] != "one" || got[2] != "three" {
		t.Errorf("got %v", got)
	}
}

// TestEveryChangeShows changes each line in each way that matters.
func TestEveryChangeShows(t *testing.T) {
	s := newSite(t)
	for _, event := range []string{"one", "two", "three"} {
		s.add(t, event)
	}
	whole, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
	lines[2] = append(lines[2], '\n')
	other := newSite(t)
	other.add(t, "one")
	forged, err := os.ReadFile(other.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string][]byte{
		"edited":     bytes.Replace(whole, []byte(`"what":"two"`), []byte(`"what":"tow"`), 1),
		"left out":   bytes.Join([][]byte{lines[0], lines[2]}, nil),
		"swapped":    bytes.Join([][]byte{lines[1], lines[0], lines[2]}, nil),
		"repeated":   bytes.Join([][]byte{lines[0], lines[0], lines[1], lines[2]}, nil),
		"other site": forged,
		"torn":       whole[:len(whole)-9],
		"no journal": []byte("hello\n"),
	} {
		if err := os.WriteFile(s.path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		var broken *BrokenError
		if _, _, err := Read(s.path, s.ring); !errors.As(err, &broken) {
			t.Errorf("%s: got %v, want a *BrokenError", name, err)
		}
	}
}

func TestTornEntryIsDropped(t *testing.T) {
	s := newSite(t)
	s.add(t, "one")
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"apiVersion":"naru/v1","kind":"Jour`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.add(t, "two")
	if got := s.events(t); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestBrokenChainIsNotAddedTo(t *testing.T) {
	s := newSite(t)
	s.add(t, "one")
	if err := os.WriteFile(s.path, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var broken *BrokenError
	if _, err := Append(s.path, s.key, "two", nil); !errors.As(err, &broken) {
		t.Errorf("got %v, want a *BrokenError", err)
	}
}

func TestManyWriters(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := Append(s.path, s.key, "x", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := s.events(t); len(got) != 20 {
		t.Errorf("%d entries, want 20", len(got))
	}
}
