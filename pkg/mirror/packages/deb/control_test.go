package deb

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestControl(t *testing.T) {
	r := NewReader(strings.NewReader("\n \nPackage: a\nDescription: one\n two\n .\n\tthree  \n\n\nPACKAGE:b\nx:"))
	for _, want := range []Paragraph{{"package": "a", "description": "one\ntwo\n.\nthree"}, {"package": "b", "x": ""}} {
		got, err := r.Next()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestControlKeepsWhatWasNamed(t *testing.T) {
	got, err := NewReader(strings.NewReader("A: 1\n 2\nB: 3\nC: 4\n"), "b").Next()
	if diff := cmp.Diff(Paragraph{"b": "3"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestMalformedControl(t *testing.T) {
	for name, text := range map[string]string{
		"continued from nothing": " a\n B: c\n",
		"after a paragraph":      "A: b\n\n c\n",
		"no colon":               "A: b\nC\n",
		"no name":                ": b\n",
		"comment":                "# a: b\n",
		"twice":                  "A: b\na: c\n",
		"byte 0":                 "A: b\x00\n",
		"space in the name":      "A b: c\n",
		"umlaut in the name":     "Ä: c\n",
		"long line":              "A: " + strings.Repeat("x", maxLine+70_000) + "\n",
	} {
		r := NewReader(strings.NewReader(text))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, ErrControl) {
			t.Errorf("%s: got %v, want ErrControl", name, err)
		}
	}
}

func TestRelations(t *testing.T) {
	got, err := ParseRelations("libc6 (>= 2.36), a:any|b(=1:2-3)\n , c (<< 4) | d:amd64 ( >> 5 ),, e (< 6),f(>7)")
	want := []Group{
		{{Name: "libc6", Op: ">=", Version: "2.36"}},
		{{Name: "a", Arch: "any"}, {Name: "b", Op: "=", Version: "1:2-3"}},
		{{Name: "c", Op: "<<", Version: "4"}, {Name: "d", Arch: "amd64", Op: ">>", Version: "5"}},
		{{Name: "e", Op: "<=", Version: "6"}}, {{Name: "f", Op: ">=", Version: "7"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, text := range []string{"a |", "a (", "a (1)", "a (>= )", "a (>= 1", "a (>= 1) x", "a b", "(>= 1)", "a: (= 1)", "a (== 1)", "-a", "a (= 1 2)", "a (=> 1)"} {
		if got, err := ParseRelations(text); !errors.Is(err, ErrRelation) {
			t.Errorf("%q: got %v, %v, want ErrRelation", text, got, err)
		}
	}
}

// FuzzControl holds that what is read has no names or lines that could not be written,
// and is read again as it was.
func FuzzControl(f *testing.F) {
	for _, s := range []string{"A: b\n c\n\nD: e\n", "\n\n", ":", " x", "A:\n", "Package: a\nVersion: 1\n\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(strings.NewReader(text))
		for {
			p, err := r.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, ErrControl) {
					t.Errorf("an error of no kind: %v", err)
				}
				return
			}
			if len(p) == 0 {
				t.Error("a paragraph without fields")
			}
			var again strings.Builder
			for k, v := range p {
				again.WriteString(k + ": " + strings.ReplaceAll(v, "\n", "\n ") + "\n")
			}
			back, err := NewReader(strings.NewReader(again.String())).Next()
			if err != nil || !sameButBlankLines(p, back) {
				t.Errorf("%q became %q, %v", p, back, err)
			}
		}
	})
}

// sameButBlankLines leaves out of account that an empty line of a value ends the
// paragraph when it is written as it is.
func sameButBlankLines(a, b Paragraph) bool {
	for _, v := range a {
		if strings.HasSuffix(v, "\n") || strings.Contains(v, "\n\n") || strings.ContainsAny(v, "\r") || strings.TrimSpace(v) != v {
			return true
		}
	}
	for k, v := range a {
		for _, line := range strings.Split(v, "\n") {
			if strings.TrimSpace(line) != line {
				return true
			}
		}
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

func FuzzRelations(f *testing.F) {
	for _, s := range []string{"a (>= 1), b | c:any", "a(<<1)", "a (= 1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := ParseRelations(text)
		if err != nil {
			return
		}
		var all []string
		for _, g := range groups {
			all = append(all, g.String())
		}
		again, err := ParseRelations(strings.Join(all, ", "))
		if diff := cmp.Diff(groups, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	})
}
