package install

import (
	"strings"
	"testing"
)

// TestNamesInCoreDNS: the block takes the place of an older one and of nothing else,
// whatever became of marks.
func TestNamesInCoreDNS(t *testing.T) {
	const theirs, more = ".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n", "example.test:53 {\n    forward . 10.1.1.1\n}\n"
	old, block := namesBlock("harbor.k8s.test", "10.0.0.14"), namesBlock("harbor.k8s.test", "10.0.0.99")
	endless := strings.TrimSuffix(old, namesEnd+"\n")
	edited := strings.Replace(old, "    errors\n", "    errors\n    log\n", 1)
	bare := strings.TrimSuffix(strings.TrimPrefix(old, namesBegin+"\n"), namesEnd+"\n")
	others := strings.ReplaceAll(bare, "harbor.k8s.test", "harbor.other.test")
	for name, c := range map[string]struct{ have, want, without string }{
		"its marks were lost":        {theirs + "\n" + bare + more, theirs + "\n" + block + more, theirs + "\n" + bare + more},
		"another name's, unmarked":   {theirs + others, theirs + others + block, theirs + others},
		"none":                       {theirs, theirs + block, theirs},
		"empty":                      {"", block, ""},
		"no end of line":             {strings.TrimSuffix(theirs, "\n"), theirs + block, ""},
		"at the end":                 {theirs + old, theirs + block, theirs},
		"in the middle":              {theirs + old + more, theirs + block + more, theirs + more},
		"the last line is not ended": {theirs + strings.TrimSuffix(old, "\n"), theirs + block, theirs},
		"two":                        {old + theirs + old + more, block + theirs + more, theirs + more},
		"edited between its marks":   {theirs + edited + more, theirs + block + more, theirs + more},
		"its end was lost":           {theirs + endless + more, theirs + block + more, theirs + more},
		"lost, and one more":         {theirs + endless + more + old, theirs + block + more, theirs + more},
		"another's mark":             {namesBegin + "\n" + theirs + more + old, namesBegin + "\n" + theirs + more + block, namesBegin + "\n" + theirs + more},
		"a mark within a line":       {"# see " + namesBegin + "\n" + theirs + old, "# see " + namesBegin + "\n" + theirs + block, "# see " + namesBegin + "\n" + theirs},
		"a mark and no more":         {theirs + namesBegin + "\n", theirs + namesBegin + "\n" + block, theirs + namesBegin + "\n"},
		"an end and no more":         {theirs + namesEnd + "\n" + old, theirs + namesEnd + "\n" + block, theirs + namesEnd + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := setNames(c.have, block)
			if got != c.want {
				t.Fatalf("Corefile:\n%s\nwant\n%s", got, c.want)
			}
			if again := setNames(got, block); again != got {
				t.Errorf("again:\n%s", again)
			}
			if c.without == "" && c.have != "" {
				return
			}
			if got := setNames(c.have, ""); got != c.without {
				t.Errorf("taken away:\n%s\nwant\n%s", got, c.without)
			}
		})
	}
}
