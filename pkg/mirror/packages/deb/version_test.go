package deb

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1", "1", 0}, {"1.0", "1.0-0", 0}, {"0:1", "1", 0}, {"00:1", "1", 0}, {"1.02", "1.2", 0},
		{"1", "2", -1}, {"1.10", "1.9", 1}, {"1:0", "2", 1}, {"1~rc1", "1", -1}, {"1~~", "1~", -1}, {"1~~a", "1~", -1},
		{"1a", "1", 1}, {"1a", "1+", -1}, {"1.a", "1.+", -1}, {"1-1", "1-1.1", -1}, {"1-1", "1.0-1", -1}, {"1-1-2", "1-1-1", 1},
		{"12.20230101123456789012345678901234567890", "12.9", 1},
		{"10000000000000000000000", "9999999999999999999999", 1},
		{"2.6.12-1+deb12u3", "2.6.12-1+deb12u10", -1}, {"1.2.3-1~bpo12+1", "1.2.3-1", -1},
	} {
		if got := sign(CompareVersions(c.a, c.b)); got != c.want {
			t.Errorf("%q against %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := sign(CompareVersions(c.b, c.a)); got != -c.want {
			t.Errorf("%q against %q: %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// TestVersionsAgainstDpkg compares 10,000 generated pairs with dpkg's own answer.
func TestVersionsAgainstDpkg(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var script bytes.Buffer
	type pair struct{ a, b, op string }
	pairs := make([]pair, 10_000)
	for i := range pairs {
		a := version(rnd)
		p := pair{a: a, b: mutated(rnd, a)}
		p.op = map[int]string{-1: "lt", 0: "eq", 1: "gt"}[sign(CompareVersions(p.a, p.b))]
		pairs[i] = p
		_, _ = fmt.Fprintf(&script, "dpkg --compare-versions '%s' %s '%s' || echo %d\n", p.a, p.op, p.b, i)
	}
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Stdin = &script
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running dpkg: %v: %s", err, stderr.String())
	}
	for _, line := range strings.Fields(string(out)) {
		var i int
		if _, err := fmt.Sscan(line, &i); err != nil {
			t.Fatal(err)
		}
		t.Errorf("dpkg does not agree that %q %s %q", pairs[i].a, pairs[i].op, pairs[i].b)
	}
	if stderr.Len() > 0 {
		t.Errorf("dpkg had something to say: %.500s", stderr.String())
	}
}

// version is a version that dpkg takes: an epoch or none, what starts with a digit,
// a revision or none.
func version(rnd *rand.Rand) string {
	s := ""
	if rnd.IntN(4) == 0 {
		s = fmt.Sprint(rnd.IntN(3)) + ":"
	}
	s += fmt.Sprint(rnd.IntN(20))
	for range rnd.IntN(5) {
		s += piece(rnd, ".+~")
	}
	if rnd.IntN(2) == 0 {
		s += "-" + fmt.Sprint(rnd.IntN(4))
		for range rnd.IntN(3) {
			s += piece(rnd, ".+~")
		}
	}
	return s
}

// piece is a part of a version.
func piece(rnd *rand.Rand, marks string) string {
	switch rnd.IntN(6) {
	case 0:
		return string(marks[rnd.IntN(len(marks))])
	case 1:
		return []string{"rc", "dfsg", "deb", "a", "Z", "b", "git", "ubuntu"}[rnd.IntN(8)]
	case 2:
		return []string{"0", "00", "09", "20260711101637", "18446744073709551616", "99999999999999999999999"}[rnd.IntN(6)]
	}
	return string(marks[rnd.IntN(len(marks))]) + fmt.Sprint(rnd.IntN(30))
}

// mutated is another version, most often one close to v.
func mutated(rnd *rand.Rand, v string) string {
	switch rnd.IntN(5) {
	case 0:
		return version(rnd)
	case 1:
		return v + piece(rnd, ".+~")
	case 2:
		return strings.Replace(v, ".", "~", 1)
	case 3:
		return strings.Replace(v, "1", "01", 1)
	}
	if i := strings.LastIndexByte(v, '-'); i > 0 {
		return v[:i]
	}
	return v + "-0"
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("1:2.3-4", "1:2.3-5", "2")
	f.Add("1~", "1", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, bc, ac := sign(CompareVersions(a, b)), sign(CompareVersions(b, c)), sign(CompareVersions(a, c))
		if CompareVersions(a, a) != 0 || sign(CompareVersions(b, a)) != -ab {
			t.Errorf("%q and %q are not ordered", a, b)
		}
		if ab == bc && ac != ab {
			t.Errorf("%q, %q, %q: %d, %d, but %d", a, b, c, ab, bc, ac)
		}
	})
}
