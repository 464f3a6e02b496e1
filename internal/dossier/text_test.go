package dossier

import (
	"os"
	"regexp"
	"testing"
)

// TestBothLanguagesHaveEveryWord compares the languages with each other and with
// what the page asks for.
func TestBothLanguagesHaveEveryWord(t *testing.T) {
	for key := range korean {
		if english[key] == "" {
			t.Errorf("English has no %q", key)
		}
	}
	for key := range english {
		if korean[key] == "" {
			t.Errorf("Korean has no %q", key)
		}
	}
	html, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$t\.([a-z]\w*)`).FindAllSubmatch(html, -1) {
		if english[string(m[1])] == "" {
			t.Errorf("the page asks for %q", m[1])
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_950: "1.0 MB", 4_700_000_000: "4.7 GB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if got := digits(1234567); got != "1,234,567" {
		t.Error(got)
	}
}
