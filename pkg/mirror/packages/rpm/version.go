package rpm

import (
	"cmp"
	"strconv"
	"strings"
)

// EVR is epoch, version and release. An empty release matches any in a dependency.
type EVR struct {
	Epoch            int
	Version, Release string
}

// String is "epoch:version-release" as rpm prints it, without an epoch of 0.
func (e EVR) String() string {
	s := e.Version
	if e.Epoch != 0 {
		s = strconv.Itoa(e.Epoch) + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// ParseEVR reads "[epoch:]version[-release]". What is no number before a colon is
// no epoch, as for rpm.
func ParseEVR(s string) EVR {
	var e EVR
	if head, rest, ok := strings.Cut(s, ":"); ok {
		if n, err := strconv.Atoi(head); err == nil && n >= 0 {
			e.Epoch, s = n, rest
		}
	}
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		e.Version, e.Release = s[:i], s[i+1:]
		return e
	}
	e.Version = s
	return e
}

// Compare orders two versions: -1, 0 or 1 as a is older, equal or newer.
func (e EVR) Compare(other EVR) int {
	return cmp.Or(cmp.Compare(e.Epoch, other.Epoch), Compare(e.Version, other.Version), Compare(e.Release, other.Release))
}

// compareDependency is Compare for a dependency's version: a release that one side
// leaves out is not compared.
func (e EVR) compareDependency(other EVR) int {
	if e.Release == "" || other.Release == "" {
		e.Release, other.Release = "", ""
	}
	return e.Compare(other)
}

// Compare orders two version strings, or two releases, as rpmvercmp of rpm does:
// runs of digits compare as numbers and are newer than runs of letters, other
// characters only separate, "~" sorts before everything, even the end, and "^"
// after the end but before anything else.
func Compare(a, b string) int {
	if a == b {
		return 0
	}
	for a != "" || b != "" {
		a, b = trimSeparators(a), trimSeparators(b)
		if c, done := compareMark(a, b); done {
			return c
		} else if c == skipMark {
			a, b = a[1:], b[1:]
			continue
		}
		if a == "" || b == "" {
			break
		}
		var sa, sb string
		isNumber := isDigit(a[0])
		if isNumber {
			sa, a = run(a, isDigit)
			sb, b = run(b, isDigit)
		} else {
			sa, a = run(a, isLetter)
			sb, b = run(b, isLetter)
		}
		if sb == "" { // one a number, the other letters
			if isNumber {
				return 1
			}
			return -1
		}
		if c := compareRun(sa, sb, isNumber); c != 0 {
			return c
		}
	}
	return cmp.Compare(min(len(a), 1), min(len(b), 1))
}

// skipMark says that both strings start with the same mark.
const skipMark = 2

// compareMark decides by "~" or "^" at the start of either string, if it can.
func compareMark(a, b string) (c int, done bool) {
	ma, mb := mark(a), mark(b)
	switch {
	case ma == 0 && mb == 0:
		return 0, false
	case ma == '~' && mb == '~':
		return skipMark, false
	case mb == '~':
		return 1, true
	case ma == '~':
		return -1, true
	case a == "": // against "^"
		return -1, true
	case b == "":
		return 1, true
	case ma != '^':
		return 1, true
	case mb != '^':
		return -1, true
	}
	return skipMark, false
}

// mark is the "~" or "^" that s starts with, or 0.
func mark(s string) byte {
	if s != "" && (s[0] == '~' || s[0] == '^') {
		return s[0]
	}
	return 0
}

func compareRun(a, b string, isNumber bool) int {
	if isNumber {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		if c := cmp.Compare(len(a), len(b)); c != 0 {
			return c
		}
	}
	return strings.Compare(a, b)
}

func trimSeparators(s string) string {
	i := 0
	for i < len(s) && !isDigit(s[i]) && !isLetter(s[i]) && s[i] != '~' && s[i] != '^' {
		i++
	}
	return s[i:]
}

// run cuts off the characters at the start of s for which is holds.
func run(s string, is func(byte) bool) (head, rest string) {
	i := 0
	for i < len(s) && is(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
