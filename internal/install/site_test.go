package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/internal/phase"
	"naru/manifest"
)

// TestInitWritesASiteFile: what init writes is a site file, as it is and with every
// commented default taken in.
func TestInitWritesASiteFile(t *testing.T) {
	set := &carried.Set{Release: "2025.1", Kubernetes: "1.32.13", Components: []*manifest.ComponentSpec{{ID: "calico", Version: "3.31.7"}}}
	data, err := renderSite(set)
	if err != nil {
		t.Fatal(err)
	}
	s, err := manifest.DecodeSite("site.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.ControlPlanes()) != 3 || !strings.Contains(string(data), "calico 3.31.7") {
		t.Errorf("%s", data)
	}
}

func TestPhasesAreNamedOnce(t *testing.T) {
	c := &Cluster{Site: manifest.LocalSite("box", "192.0.2.7"), Set: &carried.Set{Lock: manifest.NewLock("x")}}
	h, err := c.reach(&c.Site.Hosts[0], c.Site)
	if err != nil {
		t.Fatal(err)
	}
	c.Hosts = append(c.Hosts, h)
	plan, err := phase.NewPlan(Phases(), c, phase.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range plan.Steps {
		if seen[s.Name] || s.Title == "" {
			t.Errorf("phase %q is named twice or has no title", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestSnapshotsAreChecked(t *testing.T) {
	db := bytes.Repeat([]byte("etcd"), 5000)
	sum := sha256.Sum256(db)
	whole := append(bytes.Clone(db), sum[:]...)
	pieces := func(data []byte) *snapshotReader {
		var buf bytes.Buffer
		for len(data) > 0 {
			n := min(len(data), 777)
			line, err := json.Marshal(map[string]any{"result": map[string]any{"blob": data[:n]}})
			if err != nil {
				t.Fatal(err)
			}
			buf.Write(line)
			data = data[n:]
		}
		return &snapshotReader{dec: json.NewDecoder(&buf), sum: sha256.New()}
	}
	s := pieces(whole)
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, whole) || s.check() != nil {
		t.Errorf("%d bytes, %v, %v", len(got), err, s.check())
	}
	changed := bytes.Clone(whole)
	changed[100] ^= 1
	for name, data := range map[string][]byte{"cut short": whole[:len(whole)-1000], "changed": changed, "empty": nil} {
		s := pieces(data)
		_, _ = io.ReadAll(s)
		var bad *SnapshotError
		if err := s.check(); !errors.As(err, &bad) {
			t.Errorf("%s: %v, want a *SnapshotError", name, err)
		}
	}
}
