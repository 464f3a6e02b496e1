package install

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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

// TestSnapshotsOfOthersStay: a snapshot that an administrator put beside naru's was removed
// as one of the oldest, and one that was being written as one cut off.
func TestSnapshotsOfOthersStay(t *testing.T) {
	c, hosts := planes(t, "a")
	const dir = "/var/lib/naru/etcd/"
	var ours []string
	for i := range 7 {
		ours = append(ours, "20261126T04012"+string(rune('0'+i))+"Z.db")
	}
	hosts["a"].put(t, dir+"before-migration.db", dir+"nightly.db.part", dir+"20261126.db", dir+"20261126T040110Z.db.part", dir+ours[6]+".part")
	for i, name := range slices.Concat([]string{"before-migration.db"}, ours[:6]) {
		hosts["a"].put(t, dir+name)
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		ok(t, os.Chtimes(filepath.Join(hosts["a"].dir, dir, name), at, at))
	}
	_, err := c.Hosts[0].Script(t.Context(), keepSnapshotScript, dir[:len(dir)-1], dir+ours[6], "6")
	ok(t, err)
	var names []string
	for _, e := range must(os.ReadDir(filepath.Join(hosts["a"].dir, dir)))(t) {
		names = append(names, e.Name())
	}
	if want := slices.Concat([]string{"20261126.db"}, ours[2:], []string{"before-migration.db", "nightly.db.part"}); !slices.Equal(names, want) {
		t.Errorf("left %q, want %q", names, want)
	}
}
