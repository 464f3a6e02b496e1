package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/cli"
)

func TestUsageErrors(t *testing.T) {
	m := newMedium(t, true)
	password := filepath.Join(t.TempDir(), "password")
	ok(t, os.WriteFile(password, []byte("planted"), 0o600))
	for name, args := range map[string][]string{
		"unknown command":        {"bake"},
		"verify nothing":         {"verify"},
		"push nowhere":           {"push", m.dir, "--key", m.pub},
		"plain HTTP far away":    {"push", m.dir, "--key", m.pub, "--to", "registry.site:5000", "--plain-http"},
		"plain HTTP for all":     {"serve", m.dir, "--key", m.pub, "--listen", "0.0.0.0:0", "--plain-http"},
		"certificate, no key":    {"serve", m.dir, "--key", m.pub, "--tls-cert", "x"},
		"certificate, plain":     {"serve", m.dir, "--key", m.pub, "--tls-cert", "x", "--tls-key", "x", "--plain-http"},
		"user without password":  {"push", m.dir, "--key", m.pub, "--to", "x", "--user", "x"},
		"Harbor without TLS":     {"push", m.dir, "--key", m.pub, "--harbor", "http://harbor.site", "--user", "x", "--password-file", password},
		"Harbor and a registry":  {"push", m.dir, "--key", m.pub, "--harbor", "https://harbor.site", "--to", "x", "--user", "x", "--password-file", password},
		"Harbor, nobody":         {"push", m.dir, "--key", m.pub, "--harbor", "https://harbor.site"},
		"no Harbor":              {"harbor", "status"},
		"no such role":           {"harbor", "rotate", "--harbor", "https://harbor.site", "--user", "x", "--password-file", password, "--role", "root"},
		"replicate nowhere":      {"replicate", "--harbor", "https://harbor.site", "--user", "x", "--password-file", password},
		"replicate, no target":   {"replicate", "--to", "busan", "--on-push", "--harbor", "https://harbor.site", "--user", "x", "--password-file", password},
		"a password as argument": {"push", m.dir, "--password", "x"},
		"a state of no use":      {"push", m.dir, "--key", m.pub, "--to", "x", "--state", "y"},
	} {
		t.Run(name, func(t *testing.T) {
			o := run(t, args...)
			expect(t, o, cli.ExitUsage, "hint: ")
			if strings.Contains(o.stderr, "bundle releases") { // this program has none
				t.Errorf("it points to the other program:\n%s", o.stderr)
			}
		})
	}
}

func TestWhoIsTrusted(t *testing.T) {
	m, unsigned := newMedium(t, true), newMedium(t, false)
	_, other := newKey(t)
	key := must(os.ReadFile(m.pub))(t)
	folder := func(name string) string {
		dir := t.TempDir()
		ok(t, os.MkdirAll(filepath.Join(dir, "revoked"), 0o700))
		ok(t, os.WriteFile(filepath.Join(dir, "other.pub"), must(os.ReadFile(other))(t), 0o600))
		if name != "" {
			ok(t, os.WriteFile(filepath.Join(dir, name), key, 0o600))
		}
		return dir
	}
	nobody := t.TempDir()
	for name, args := range map[string][]string{"its key": {"--key", m.pub}, "trust folder": {"--trust-dir", folder("site.pub")}} {
		o := run(t, append([]string{"verify", m.dir, "--output", "json"}, args...)...)
		if r := result[struct{ Bundle, SignedBy string }](t, o); r.Bundle != m.built.Bundle || r.SignedBy != m.built.Fingerprint {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, args := range map[string][]string{
		"no key":               {"verify", m.dir, "--trust-dir", nobody},
		"another key":          {"verify", m.dir, "--trust-dir", nobody, "--key", other},
		"another trust folder": {"verify", m.dir, "--trust-dir", folder("")},
		"revoked":              {"verify", m.dir, "--trust-dir", folder("revoked/site.pub")},
		"revoked, yet given":   {"verify", m.dir, "--trust-dir", folder("revoked/site.pub"), "--key", m.pub},
		"revoked, whoever":     {"verify", m.dir, "--trust-dir", folder("revoked/site.pub"), "--insecure-skip-verify"},
		"unsigned":             {"verify", unsigned.dir, "--trust-dir", nobody, "--key", unsigned.pub},
		"serve another's":      {"serve", m.dir, "--trust-dir", nobody, "--key", other, "--plain-http", "--listen", "127.0.0.1:0"},
		"serve unsigned":       {"serve", unsigned.dir, "--trust-dir", nobody, "--key", unsigned.pub, "--plain-http", "--listen", "127.0.0.1:0"},
		"push another's":       {"push", m.dir, "--trust-dir", nobody, "--key", other, "--plain-http", "--to", "127.0.0.1:1"},
		"push unsigned":        {"push", unsigned.dir, "--trust-dir", nobody, "--key", unsigned.pub, "--plain-http", "--to", "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, run(t, args...), cli.ExitTrust, "hint: ") })
	}
	o := run(t, "verify", unsigned.dir, "--insecure-skip-verify")
	if o.code != 0 || !strings.Contains(o.stderr, "WARNING") || !strings.Contains(o.stdout, "NOT CHECKED") {
		t.Errorf("an unsigned bundle on request: %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

func TestIntegrityErrors(t *testing.T) {
	m := newMedium(t, true)
	verify := func() outcome { return run(t, "verify", m.dir, "--key", m.pub, "--trust-dir", "") }
	if o := verify(); o.code != 0 {
		t.Fatal(o.stderr)
	}
	path := filepath.Join(m.dir, m.built.Volumes[0].Name)
	good := must(os.ReadFile(path))(t)
	bad := append([]byte(nil), good...)
	bad[len(bad)/2] ^= 1
	ok(t, os.WriteFile(path, bad, 0o600))
	expect(t, verify(), cli.ExitIntegrity, filepath.Base(path), "hint: ")
	ok(t, os.Rename(path, path+".elsewhere"))
	expect(t, verify(), cli.ExitIntegrity, "hint: ")
	ok(t, os.Remove(path+".elsewhere"))
	ok(t, os.WriteFile(path, good, 0o600))

	readme := filepath.Join(m.dir, "README.txt")
	ok(t, os.WriteFile(readme, []byte("call this number"), 0o600))
	expect(t, verify(), cli.ExitIntegrity, "README.txt")
	ok(t, os.Remove(filepath.Join(m.dir, "SHA256SUMS.sig")))
	expect(t, verify(), cli.ExitTrust, "hint: ")
}

// TestNewerFormat reads one of the public vectors of the archive format.
func TestNewerFormat(t *testing.T) {
	vector := filepath.Join("..", "..", "pkg", "archive", "testdata", "newer-version.tar.zst")
	expect(t, run(t, "verify", vector, "--insecure-skip-verify"), cli.ExitVersion, "hint: ")
}

func TestRegistryErrors(t *testing.T) {
	m := newMedium(t, true)
	const secret = "s3cret-of-harbor-55aa"
	password := filepath.Join(t.TempDir(), "password")
	ok(t, os.WriteFile(password, []byte(secret+"\n"), 0o600))
	for name, status := range map[string]int{"forbidden": 403, "unauthorized": 401} {
		t.Run(name, func(t *testing.T) {
			registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(status)
				_, _ = w.Write([]byte(r.Header.Get("Authorization"))) // an unkind one
			}))
			defer registry.Close()
			o := run(t, "push", m.dir, "--key", m.pub, "--to", strings.TrimPrefix(registry.URL, "http://"), "--plain-http",
				"--user", "robot", "--password-file", password, "--progress", "json")
			expect(t, o, cli.ExitNetwork, "hint: ")
			if strings.Contains(o.stderr, secret) {
				t.Errorf("the password is said:\n%s", o.stderr)
			}
		})
	}
	expect(t, run(t, "push", m.dir, "--key", m.pub, "--to", "x", "--user", "u", "--password-file", filepath.Join(t.TempDir(), "none")), cli.ExitError)
}

func TestUnscannedBundleIsRefused(t *testing.T) {
	m := newMedium(t, true)
	for _, args := range [][]string{{"push", m.dir, "--key", m.pub, "--to", "127.0.0.1:1", "--plain-http"}, {"serve", m.dir, "--key", m.pub, "--plain-http", "--listen", "127.0.0.1:0"}} {
		var stdout, stderr buffer
		code := cli.Program{Root: newRoot(), Judge: judge}.Run(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
		expect(t, outcome{code, stdout.String(), stderr.String()}, cli.ExitPolicy, "never scanned", "hint: ", "--allow-unscanned")
	}
}
