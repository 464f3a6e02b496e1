package deb

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// entry is a package as an index has it; more are further fields, "Depends: x".
func entry(name, version string, more ...string) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nFilename: pool/main/%s_%s_amd64.deb\nSize: 10\nSHA256: %064x\n%s\n\n",
		name, version, name, strings.ReplaceAll(version, ":", "%3a"), len(name)*1000+len(version), strings.Join(append(more, "Section: misc"), "\n"))
}

func readIndex(text string) (list []*Package, err error) {
	err = ReadIndex(strings.NewReader(text), "amd64", func(p *Package) error { list = append(list, p); return nil })
	return list, err
}

func TestIndex(t *testing.T) {
	got, err := readIndex(entry("a", "1:2-3", "Depends: b (>= 1)", "Pre-Depends: c | d", "Provides: v, w (= 2)", "Essential: yes", "Multi-Arch: same", "Source: src (2-3)", "Priority: important") +
		strings.ReplaceAll(entry("b", "1"), "amd64", "i386"))
	want := []*Package{{Name: "a", Version: "1:2-3", Arch: "amd64", Path: "pool/main/a_1%3a2-3_amd64.deb", Size: 10,
		SHA256:  fmt.Sprintf("%064x", 1005),
		Depends: []Group{{{Name: "c"}, {Name: "d"}}, {{Name: "b", Op: ">=", Version: "1"}}}, Provides: []Relation{{Name: "v"}, {Name: "w", Op: "=", Version: "2"}},
		Essential: true, MultiArch: "same", From: "src", Standard: true}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Package{})); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestMalformedIndex(t *testing.T) {
	good := entry("a", "1")
	for name, text := range map[string]string{
		"no name":         strings.Replace(good, "Package: a", "Package:", 1),
		"no version":      strings.Replace(good, "Version: 1", "Version:", 1),
		"no checksum":     strings.Replace(good, "SHA256:", "MD5sum:", 1),
		"short checksum":  strings.Replace(good, "SHA256: 00", "SHA256: ", 1),
		"absolute":        strings.Replace(good, "Filename: pool", "Filename: /pool", 1),
		"traversal":       strings.Replace(good, "Filename: pool", "Filename: pool/../../pool", 1),
		"no size":         strings.Replace(good, "Size: 10", "Size: 0", 1),
		"negative size":   strings.Replace(good, "Size: 10", "Size: -1", 1),
		"depends":         entry("a", "1", "Depends: b (1)"),
		"provides either": entry("a", "1", "Provides: b | c"),
		"provides range":  entry("a", "1", "Provides: b (>= 1)"),
		"form":            good + "x\n",
	} {
		if _, err := readIndex(text); !errors.Is(err, ErrIndex) {
			t.Errorf("%s: got %v, want ErrIndex", name, err)
		}
	}
}

// FuzzIndex holds that whatever an index says, packages have names, versions and paths
// that are safe to use.
func FuzzIndex(f *testing.F) {
	f.Add(entry("a", "1", "Depends: b (>= 1), c | d:any", "Provides: v (= 1)") + entry("b", "1:2~3-4"))
	f.Add("Package: a\nArchitecture: all\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		u := newUniverse("amd64", []bool{true})
		err := ReadIndex(strings.NewReader(text), "amd64", func(p *Package) error {
			if !isName(p.Name) || p.Size <= 0 || strings.HasPrefix(p.Path, "/") || strings.Contains("/"+p.Path+"/", "/../") || !isSHA256(p.SHA256) {
				t.Errorf("taken: %+v", p)
			}
			u.add(p)
			return nil
		})
		if err != nil && !errors.Is(err, ErrIndex) {
			t.Errorf("an error of no kind: %v", err)
		}
		u.finish()
		for name := range u.byName {
			closure(u, roots(name))
		}
	})
}
