package harbor

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"encoding/pem"
)

// TestPlantedSecretsAreScrubbed records from a server that shows what it is told, and
// what it makes, wherever Harbor would.
func TestPlantedSecretsAreScrubbed(t *testing.T) {
	const password, secret, token, cookie = "planted-password-1", "planted-secret-2", "planted-token-3", "planted-cookie-4"
	var got string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got, _ = r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "sid="+cookie)
		w.Header().Set("X-Harbor-Csrf-Token", token)
		_, _ = io.WriteString(w, `{"name":"robot$x","secret":"`+secret+`","token": "`+token+`"}`)
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("NARU_HARBOR", srv.URL)
	t.Setenv("NARU_HARBOR_USER", "admin")
	t.Setenv("NARU_HARBOR_PASSWORD_FILE", write("password", password))
	t.Setenv("NARU_HARBOR_CA", write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))))
	post := func(e *Exchange, user, pass string) string {
		body := `{"name":"there","credential":{"access_secret":"` + Password + `"},"password":"` + Password + `"}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, URL+"/api/v2.0/registries", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(user, pass)
		resp, err := e.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	t.Run("record", func(t *testing.T) {
		e := Open(t, "planted")
		answer := post(e, User, Password)
		if got != password {
			t.Errorf("the server was shown %q", got)
		}
		if strings.Contains(answer, secret) || !strings.Contains(answer, "recorded-secret-") {
			t.Errorf("the client is shown %s", answer)
		}
		_, standIn, _ := strings.Cut(answer, `"secret":"`)
		standIn, _, _ = strings.Cut(standIn, `"`)
		post(e, "robot$x", standIn)
		if got != secret {
			t.Errorf("for the stand-in %q the server was shown %q", standIn, got)
		}
	})
	data, err := os.ReadFile(filepath.Join(dir, "testdata", "planted.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{password, secret, token, cookie, Password, strings.TrimPrefix(srv.URL, "https://")} {
		for _, spelled := range []string{s, base64.StdEncoding.EncodeToString([]byte("admin:" + s))} {
			if strings.Contains(string(data), spelled) {
				t.Errorf("the recording holds %q:\n%s", spelled, data)
			}
		}
	}
}

// TestRecordingsHoldNoSecrets looks through all recordings of the repository.
func TestRecordingsHoldNoSecrets(t *testing.T) {
	var found int
	err := filepath.WalkDir("../../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == ".cache" || d.Name() == "bundles") {
			return filepath.SkipDir
		}
		if filepath.Base(filepath.Dir(path)) != "testdata" || filepath.Ext(path) != ".yaml" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), "\ninteractions:") {
			return err
		}
		found++
		text := strings.ToLower(string(data))
		for _, s := range []string{"authorization", "set-cookie", "csrf", "basic ", "bearer "} {
			for line := range strings.SplitSeq(text, "\n") {
				if strings.Contains(line, s) {
					t.Errorf("%s holds %q: %.200s", path, s, line)
				}
			}
		}
		for _, m := range secretFields.FindAllStringSubmatch(string(data), -1) {
			if v := m[2]; v != "" && v != "scrubbed" && !strings.HasPrefix(v, "recorded-secret-") {
				t.Errorf("%s: %s is %q", path, m[1], v)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 6 {
		t.Errorf("looked through %d recordings only", found)
	}
}
