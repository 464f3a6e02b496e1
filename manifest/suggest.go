package manifest

import (
	"fmt"
	"slices"
)

// suggest is ", did you mean ..." for the candidate nearest to word, or "".
func suggest(word string, candidates []string) string {
	slices.Sort(candidates)
	best, bestDistance := "", len(word)/2+1
	for _, c := range candidates {
		if n := distance(word, c); n < bestDistance {
			best, bestDistance = c, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is the Levenshtein distance of two short words, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func mapKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
