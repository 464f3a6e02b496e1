package deb

import "strings"

// CompareVersions orders two versions as dpkg does: negative when a is the older, 0
// when neither is, see deb-version(7). Any text is a version to it.
func CompareVersions(a, b string) int {
	epochA, upstreamA, revisionA := splitVersion(a)
	epochB, upstreamB, revisionB := splitVersion(b)
	if c := comparePart(epochA, epochB); c != 0 {
		return c
	}
	if c := comparePart(upstreamA, upstreamB); c != 0 {
		return c
	}
	return comparePart(revisionA, revisionB)
}

// splitVersion is [epoch:]upstream[-revision]. An epoch that is not there is 0, which
// compares as the empty text does; so does a revision.
func splitVersion(v string) (epoch, upstream, revision string) {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		epoch, v = v[:i], v[i+1:]
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// order is the rank of the byte at i where letters sort before all else but "~", which
// sorts before the end, and digits and the end have none.
func order(s string, i int) int {
	switch {
	case i >= len(s) || isDigit(s[i]):
		return 0
	case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	case s[i] == '~':
		return -1
	}
	return int(s[i]) + 256
}

// comparePart compares runs of other bytes and runs of digits in turn, digits by the
// number they are, however long.
func comparePart(a, b string) int {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		for i < len(a) && !isDigit(a[i]) || j < len(b) && !isDigit(b[j]) {
			if d := order(a, i) - order(b, j); d != 0 {
				return d
			}
			i, j = i+1, j+1
		}
		startA, endA := number(a, i)
		startB, endB := number(b, j)
		if d := (endA - startA) - (endB - startB); d != 0 {
			return d
		}
		if d := strings.Compare(a[startA:endA], b[startB:endB]); d != 0 {
			return d
		}
		i, j = endA, endB
	}
	return 0
}

// number is where the digits at i begin, leading zeros left out, and end.
func number(s string, i int) (start, end int) {
	start = min(i, len(s))
	for start < len(s) && s[start] == '0' {
		start++
	}
	end = start
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	return start, end
}
