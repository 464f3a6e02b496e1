package harbor_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"naru/pkg/harbor"
)

// TestScheduleThatIsThere: one that an administrator made stays where it is to, and is
// replaced where another one was asked for.
func TestScheduleThatIsThere(t *testing.T) {
	var set []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodGet:
			body, _ := io.ReadAll(r.Body)
			set = append(set, r.Method+" "+r.URL.Path+" "+string(body))
		case strings.HasSuffix(r.URL.Path, "/scanners"):
			_, _ = io.WriteString(w, `[{"uuid":"a","name":"Trivy"}]`)
		default:
			_, _ = io.WriteString(w, `{"schedule":{"type":"Daily","cron":"0 0 0 * * *"}}`)
		}
	}))
	defer s.Close()
	c, err := harbor.New(harbor.Options{URL: s.URL, User: "a", Password: "b", Transport: s.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{true, false} {
		set = nil
		at := harbor.Schedule{Cron: "0 0 2 * * 6", Keep: keep}
		gc, err := c.EnsureGC(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		scan, err := c.EnsureScanAll(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if gc == keep || scan == keep || len(set) != map[bool]int{true: 0, false: 2}[keep] {
			t.Errorf("keep %v: changed %v and %v, by %q", keep, gc, scan, set)
		}
	}
}
