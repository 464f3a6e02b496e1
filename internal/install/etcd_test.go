package install

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"naru/internal/phase"
)

// TestSilentEtcd: a member that took a request and did not answer, or stopped in the
// middle of a snapshot, held a run for as long as the task's deadline, up to 40 minutes.
// One that goes on slowly is waited for.
func TestSilentEtcd(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/silent" {
			<-stop
			return
		}
		for i := range 6 {
			_, _ = w.Write([]byte("piece"))
			_ = http.NewResponseController(w).Flush()
			if r.URL.Path == "/stops" && i == 2 {
				<-stop
				return
			}
			select {
			case <-stop:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}))
	defer server.Close()
	defer close(stop)
	m := etcdMemberClient{http: server.Client(), url: server.URL, answer: 400 * time.Millisecond, idle: 400 * time.Millisecond}
	for path, late := range map[string]bool{"/silent": true, "/stops": true, "/slow": false} {
		begun := time.Now()
		var got []byte
		body, err := m.post(t.Context(), path, nil)
		if err == nil {
			got, err = io.ReadAll(body)
			ok(t, body.Close())
		}
		var deadline *phase.DeadlineError
		if errors.As(err, &deadline) != late || !late && (err != nil || len(got) != 30) || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %d bytes, %v after %s", path, len(got), err, time.Since(begun))
		}
	}
}
