package harbor

import "testing"

// TestMayCarry: a policy is about none of the projects only where that is certain.
func TestMayCarry(t *testing.T) {
	projects := []string{"docker.io", "naru"}
	for pattern, want := range map[string]bool{
		"":                       true,
		"**":                     true,
		"*/**":                   true,
		"docker.io/**":           true,
		"{quay.io,docker.io}/**": true,
		"{team/a,naru/b}":        true,
		"{team/a,team/b}":        true, // it is not looked into
		"dock?r.io/**":           true,
		"team-*/**":              true,
		"[t]eam/**":              true,
		"naru":                   true,
		"team-a/**":              false,
		"{team-a,team-b}/**":     false,
		"docker.io.corp/**":      false,
	} {
		if got := (Policy{Repositories: pattern}).MayCarry(projects); got != want {
			t.Errorf("%q: %v, want %v", pattern, got, want)
		}
	}
}
