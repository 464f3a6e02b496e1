package harbor_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"naru/pkg/harbor"
)

// TestPolicyOfNoDocument: an answer without a policy, as of something between, ended the
// program, or became the policy.
func TestPolicyOfNoDocument(t *testing.T) {
	for _, answer := range []string{"null", "{}", "[]", `{"id":8,"name":"other"}`, ""} {
		t.Run(answer, func(t *testing.T) {
			wrote := false
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				wrote = wrote || r.Method != http.MethodGet
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, answer)
			}))
			defer s.Close()
			c, err := harbor.New(harbor.Options{URL: s.URL, User: "a", Password: "b", Transport: s.Client().Transport})
			ok(t, err)
			if err := c.SetEnabled(t.Context(), harbor.Policy{ID: 7, Name: "p"}, true); err == nil || wrote {
				t.Errorf("%v, written: %v", err, wrote)
			}
		})
	}
}
