package rpm

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	knq "github.com/knqyf263/go-rpm-version"
)

// pieces are what generated versions are made of, chosen to meet every rule.
var pieces = []string{"0", "00", "1", "01", "10", "9", "007", "123456789012345678901", "a", "b", "rc", "el9", "Z", "git", ".", "_", "+", "~", "~~", "^", "^^", "..", "~rc1", "^git1", ".fc", "é"}

func version(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(5) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// TestCompareAgainstRPM holds Compare against rpm's own rpmvercmp on 10,000
// generated pairs, and counts where the library that others use differs.
func TestCompareAgainstRPM(t *testing.T) {
	const pairs = 10_000
	r := rand.New(rand.NewPCG(3, 1))
	var in bytes.Buffer
	list := make([][2]string, pairs)
	for i := range list {
		list[i] = [2]string{version(r), version(r)}
		if i%3 == 0 { // neighbours
			list[i][1] = list[i][0] + version(r)
		}
		if i%2 == 0 { // versions with epochs and releases
			for j := range list[i] {
				list[i][j] = fmt.Sprintf("%d:%s-%s", r.IntN(2), list[i][j], version(r))
			}
		}
		fmt.Fprintf(&in, "%s\t%s\n", list[i][0], list[i][1])
	}
	cmd := exec.Command("rpm", "--eval", `%{lua:for l in io.lines() do local a,b=l:match("^([^\t]+)\t([^\t]+)$"); io.write(rpm.vercmp(a,b), "\n") end}`)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	n, differs := 0, 0
	for ; lines.Scan() && n < pairs; n++ {
		a, b := list[n][0], list[n][1]
		want := lines.Text()
		va, vb := ParseEVR(a), ParseEVR(b)
		if got := fmt.Sprint(va.Compare(vb)); got != want {
			t.Errorf("comparing %q and %q gives %s, rpm says %s", a, b, got, want)
		}
		if va.Compare(vb) != -vb.Compare(va) {
			t.Errorf("comparing %q and %q is not the opposite of the other way round", a, b)
		}
		if fmt.Sprint(knq.NewVersion(a).Compare(knq.NewVersion(b))) != want {
			differs++
		}
	}
	if n != pairs {
		t.Fatalf("rpm answered %d pairs of %d", n, pairs)
	}
	t.Logf("%d pairs agree with rpm; go-rpm-version differs from it on %d", n, differs)
	if differs == 0 {
		t.Error("go-rpm-version agrees with rpm now: there is no reason left for a comparison of our own")
	}
}

func TestParseEVR(t *testing.T) {
	for s, want := range map[string]EVR{
		"1.0":         {Version: "1.0"},
		"1.0-2.el9":   {Version: "1.0", Release: "2.el9"},
		"3:1.0-2":     {Epoch: 3, Version: "1.0", Release: "2"},
		"a:1":         {Version: "a:1"},
		"0:1.0-2-3":   {Version: "1.0-2", Release: "3"},
		"1.5~rc1-1^g": {Version: "1.5~rc1", Release: "1^g"},
	} {
		if got := ParseEVR(s); got != want {
			t.Errorf("ParseEVR(%q) = %+v, want %+v", s, got, want)
		}
	}
}

// TestOverlaps follows the cases of rpm's own ranges.
func TestOverlaps(t *testing.T) {
	dep := func(s string) Dependency {
		e, err := ParseRich("(" + s + ")")
		if err != nil {
			t.Fatal(err)
		}
		return e.Dep
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"x", "x", true}, {"x", "y", false}, {"x", "x >= 3", true},
		{"x = 1", "x >= 2", false}, {"x = 2", "x >= 2", true}, {"x = 2-1", "x = 2", true}, {"x = 2-1", "x = 2-2", false},
		{"x = 1:1", "x > 5", true}, {"x = 5", "x > 1:1", false}, {"x < 2", "x > 1", true}, {"x < 1", "x > 2", false},
		{"x <= 1", "x >= 1", true}, {"x < 1", "x >= 1", false}, {"x < 1", "x < 0.5", true}, {"x = 1~rc1", "x < 1", true},
		{"x = 1^git1", "x > 1", true},
	} {
		if got := dep(c.a).Overlaps(dep(c.b)); got != c.want {
			t.Errorf("%q overlaps %q: %v, want %v", c.a, c.b, got, c.want)
		}
		if got := dep(c.b).Overlaps(dep(c.a)); got != c.want {
			t.Errorf("%q overlaps %q: %v, want %v", c.b, c.a, got, c.want)
		}
	}
}

func FuzzCompare(f *testing.F) {
	f.Add("1.0~rc1", "1.0^git", "1.0")
	f.Add("a", "1", "~")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if Compare(a, a) != 0 || Compare(a, b) != -Compare(b, a) {
			t.Errorf("%q and %q: %d and %d", a, b, Compare(a, b), Compare(b, a))
		}
		_ = ParseEVR(c).Compare(ParseEVR(a))
	})
}
