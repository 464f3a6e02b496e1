package packages

import (
	"net/url"
	"strings"
)

// join is the URL of a path below base, percent-encoded as clients of package
// archives do it: "~" and "+" too.
func join(base, path string) string {
	var b strings.Builder
	for i, e := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(strings.ReplaceAll(url.PathEscape(e), "+", "%2B"))
	}
	return strings.TrimSuffix(base, "/") + "/" + b.String()
}

// URL is where a file of a source is to be had.
func URL(source, path string) string { return join(source, path) }
