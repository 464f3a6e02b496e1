//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"
)

var digestRE = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// digestsIn is how many different digests a message names.
func digestsIn(message []byte) int {
	seen := map[string]bool{}
	for _, d := range digestRE.FindAllString(string(message), -1) {
		seen[d] = true
	}
	return len(seen)
}

// refusal checks that a program refused as docs/cli.md has it: with this exit code,
// nothing on standard output, lines that start with "error: " and at most one
// "hint: " on standard error, and in these what says holds.
func refusal(t *testing.T, r result, code int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d: %s", r.code, code, r.stderr)
	}
	if len(r.stdout) > 0 {
		t.Errorf("on standard output: %q", r.stdout)
	}
	message := string(r.stderr)
	if !strings.HasPrefix(message, "error: ") && !strings.Contains(message, "\nerror: ") {
		t.Errorf("no line starts with \"error: \": %q", message)
	}
	if n := strings.Count(message, "hint: "); n > 1 {
		t.Errorf("%d hints: %q", n, message)
	}
	for _, text := range says {
		if !strings.Contains(message, text) {
			t.Errorf("the message lacks %q: %q", text, message)
		}
	}
	if strings.Contains(message, "goroutine ") {
		t.Errorf("a stack trace: %q", message)
	}
}
