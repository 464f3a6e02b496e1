package bootstrap

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/manifest"
)

// ownEtc is a Runner whose /etc is a folder of the test.
type ownEtc string

func (r ownEtc) Run(ctx context.Context, c Command) (*Result, error) {
	argv := make([]string, len(c.Argv))
	for i, a := range c.Argv {
		argv[i] = strings.ReplaceAll(a, "/etc/", string(r)+"/etc/")
	}
	c.Argv = argv
	return NewLocal("a").Run(ctx, c)
}

func (ownEtc) Close() error { return nil }

// TestHostsFile: the block takes the place of an older one, wherever that stands, and of
// nothing else, whatever became of marks.
func TestHostsFile(t *testing.T) {
	block := HostsBlock([]string{"10.0.0.9 harbor.site"})
	const old = "# naru begin\n10.0.0.1 harbor.site\n# naru end\n"
	for name, c := range map[string]struct{ have, want string }{
		"none":                   {"127.0.0.1 localhost\n", "127.0.0.1 localhost\n"},
		"empty":                  {"", ""},
		"at the end":             {"127.0.0.1 localhost\n" + old, "127.0.0.1 localhost\n"},
		"in the middle":          {"127.0.0.1 localhost\n" + old + "10.1.1.1 theirs\n", "127.0.0.1 localhost\n10.1.1.1 theirs\n"},
		"no end of line":         {"127.0.0.1 localhost", "127.0.0.1 localhost\n"},
		"two":                    {old + "10.1.1.1 theirs\n" + old, "10.1.1.1 theirs\n"},
		"without its end":        {"# naru begin\n10.0.0.1 harbor.site\n10.1.1.1 theirs\n", "# naru begin\n10.0.0.1 harbor.site\n10.1.1.1 theirs\n"},
		"an end that was lost":   {"# naru begin\n10.1.1.1 theirs\n" + old + "10.1.1.2 theirs\n", "# naru begin\n10.1.1.1 theirs\n10.1.1.2 theirs\n"},
		"a begin that was lost":  {"10.1.1.1 theirs\n# naru end\n" + old, "10.1.1.1 theirs\n# naru end\n"},
		"a mark within a line":   {"10.1.1.1 theirs # naru begin\n10.1.1.2 theirs\n" + old, "10.1.1.1 theirs # naru begin\n10.1.1.2 theirs\n"},
		"two begins in a row":    {"# naru begin\n" + old + "10.1.1.1 theirs\n", "# naru begin\n10.1.1.1 theirs\n"},
		"many begins, one block": {"# naru begin\na\n# naru begin\nb\n" + old + "c\n", "# naru begin\na\n# naru begin\nb\nc\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "etc", "hosts")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.have), 0o600); err != nil {
				t.Fatal(err)
			}
			h := &Host{SiteHost: &manifest.SiteHost{Name: "a"}, Runner: ownEtc(dir)}
			read := func() string {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
			for range 2 { // again, nothing changes
				if err := h.SetHosts(t.Context(), block); err != nil {
					t.Fatal(err)
				}
				if got, want := read(), c.want+block+"\n"; got != want {
					t.Fatalf("hosts:\n%s\nwant\n%s", got, want)
				}
				if held, err := h.HostsHold(t.Context(), block); !held || err != nil {
					t.Errorf("the block is not seen: %v, %v", held, err)
				}
			}
			if err := os.WriteFile(path, []byte(read()+"10.1.1.9 theirs\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if held, err := h.HostsHold(t.Context(), block); !held || err != nil {
				t.Errorf("with lines after it: %v, %v", held, err)
			}
			if held, err := h.HostsHold(t.Context(), HostsBlock([]string{"10.0.0.9 other.site"})); held || err != nil {
				t.Errorf("another block: %v, %v", held, err)
			}
			if err := h.SetHosts(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if got := read(); got != c.want+"10.1.1.9 theirs\n" {
				t.Errorf("taken away:\n%s", got)
			}
		})
	}
}
