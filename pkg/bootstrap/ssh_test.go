package bootstrap

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"naru/manifest"
)

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a real sshd on a loopback address.
type server struct {
	port        int
	user        string
	signer      ssh.Signer
	fingerprint string
	hostKey     ssh.PublicKey
	known       string // a known_hosts file
}

// newKey writes a key pair in OpenSSH's format.
func newKey(t *testing.T, path string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	ok(t, err)
	block := must(ssh.MarshalPrivateKey(private, ""))(t)
	ok(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	signer := must(ssh.NewSignerFromKey(private))(t)
	ok(t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600))
	return signer
}

// newServer starts sshd; sudo is a script that stands before the real PATH.
func newServer(t *testing.T, sudo string) *server {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // not in the PATH of users
	}
	dir := t.TempDir()
	host := newKey(t, filepath.Join(dir, "host"))
	client := newKey(t, filepath.Join(dir, "client"))
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	port := ln.Addr().(*net.TCPAddr).Port
	ok(t, ln.Close())
	bin := filepath.Join(dir, "bin")
	ok(t, os.MkdirAll(bin, 0o755))
	ok(t, os.WriteFile(filepath.Join(bin, "sudo"), []byte("#!/bin/sh\n"+sudo+"\n"), 0o755))
	me := must(user.Current())(t).Username
	if os.Geteuid() == 0 { // nobody else separates privileges
		ok(t, os.MkdirAll("/run/sshd", 0o755))
	}
	config := fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
SetEnv PATH=%s:/usr/bin:/bin:/usr/sbin:/sbin
`, port, filepath.Join(dir, "host"), filepath.Join(dir, "client.pub"), bin)
	ok(t, os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600))
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "config"))
	var log bytes.Buffer
	cmd.Stderr = &log
	ok(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	s := &server{port: port, user: me, signer: client, fingerprint: ssh.FingerprintSHA256(host.PublicKey()), hostKey: host.PublicKey(), known: filepath.Join(dir, "known_hosts")}
	ok(t, os.WriteFile(s.known, fmt.Appendf(nil, "[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(host.PublicKey())), 0o600))
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not answer: %v\n%s", err, log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *server) options() SSHOptions {
	return SSHOptions{Host: "h1", Address: "127.0.0.1", Port: s.port, User: s.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.signer)},
		HostKeys: HostKeys{Host: "h1", KnownHosts: s.known}, Timeout: 10 * time.Second}
}

func (s *server) host(t *testing.T, change func(*SSHOptions)) *Host {
	t.Helper()
	o := s.options()
	if change != nil {
		change(&o)
	}
	r := NewSSH(o)
	t.Cleanup(func() { _ = r.Close() })
	return &Host{SiteHost: &manifest.SiteHost{Name: "h1", Address: "127.0.0.1"}, Runner: r}
}

// asIs is a sudo that runs what it is given.
const asIs = `while [ "$1" != -- ]; do shift; done; shift; exec "$@"`

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	for _, arg := range []string{"", "a b", "$HOME `id` $(id)", `it's "so"`, "a\nb", `back\slash`, "*", "~", ";reboot", "-n", "나루", "!x"} {
		if got := must(h.Script(t.Context(), `printf '%s.' "$1"`, arg))(t); got != arg+"." && got != strings.TrimSpace(arg+".") {
			t.Errorf("%q arrived as %q", arg, got)
		}
	}
}

func TestExitCodesAndOutput(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	_, err := h.Script(t.Context(), "echo out; echo why >&2; exit 7")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Output != "why" || exit.Host != "h1" {
		t.Errorf("%#v", err)
	}
	if _, err := h.Secret(t.Context(), "echo token-''abc; exit 1"); err == nil || strings.Contains(err.Error(), "token-abc") {
		t.Errorf("a secret command's output is said: %v", err)
	}
	if _, err := h.ReadFile(t.Context(), "/nothing/here"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
}

func TestWrongHostKey(t *testing.T) {
	s := newServer(t, asIs)
	other := ssh.FingerprintSHA256(newKey(t, filepath.Join(t.TempDir(), "other")).PublicKey())
	empty := filepath.Join(t.TempDir(), "known_hosts")
	ok(t, os.WriteFile(empty, nil, 0o600))
	for name, keys := range map[string]HostKeys{
		"other fingerprint": {Host: "h1", Fingerprints: []string{other}},
		"unknown host":      {Host: "h1", KnownHosts: empty},
		"another's key":     {Host: "h1", KnownHosts: write(t, fmt.Sprintf("[127.0.0.1]:%d %s", s.port, ssh.MarshalAuthorizedKey(newKey(t, filepath.Join(t.TempDir(), "k")).PublicKey())))},
	} {
		_, err := s.host(t, func(o *SSHOptions) { o.HostKeys = keys }).Output(t.Context(), "true")
		var wrong *HostKeyError
		var connect *ConnectError
		if !errors.As(err, &wrong) || !errors.As(err, &connect) || wrong.Got != s.fingerprint {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.host(t, func(o *SSHOptions) { o.HostKeys = HostKeys{Fingerprints: []string{other, s.fingerprint}} }).Do(t.Context(), "true"); err != nil {
		t.Errorf("a fingerprint that fits: %v", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	ok(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestWrongSudo(t *testing.T) {
	s := newServer(t, `echo "sudo: a password is required" >&2; exit 1`)
	err := s.host(t, func(o *SSHOptions) { o.Sudo = true }).Do(t.Context(), "true")
	var sudo *SudoError
	if !errors.As(err, &sudo) || sudo.User != s.user || sudo.Host != "h1" {
		t.Errorf("%v, want a *SudoError", err)
	}
}

func TestSudo(t *testing.T) {
	h := newServer(t, asIs).host(t, func(o *SSHOptions) { o.Sudo = true })
	if got := must(h.Script(t.Context(), `echo "$1"`, "a b"))(t); got != "a b" {
		t.Errorf("%q", got)
	}
}

func TestCancelledCommandEnds(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := h.Do(ctx, "sleep", "30")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if err := h.Do(t.Context(), "true"); err != nil {
		t.Errorf("the next command: %v", err)
	}
}

func TestUploads(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	dir := t.TempDir()
	data := bytes.Repeat([]byte("naru\x00\xff"), 1<<18)
	f := File{Path: filepath.Join(dir, "deep", "file"), Mode: "0640", Content: data}
	if changed := must(h.Ensure(t.Context(), []File{f}))(t); len(changed) != 1 {
		t.Errorf("first: %d changed", len(changed))
	}
	if got := must(os.ReadFile(f.Path))(t); !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived, of %d", len(got), len(data))
	}
	if changed := must(h.Ensure(t.Context(), []File{f}))(t); len(changed) != 0 {
		t.Error("the same file was sent again")
	}
	f.Mode = "0600"
	if changed := must(h.Ensure(t.Context(), []File{f}))(t); len(changed) != 1 {
		t.Error("another mode is no difference")
	}
}

// TestTruncatedUploadLeavesNothing: what is cut short is not kept, and what was
// there stays.
func TestTruncatedUploadLeavesNothing(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	ok(t, os.WriteFile(path, []byte("old"), 0o600))
	data := []byte(strings.Repeat("new", 100000))
	sum := (&File{Content: data}).sum()
	short := File{Path: path, Mode: "0600", SHA256: sum, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[:1000])), nil
	}}
	var digest *DigestError
	if err := h.Put(t.Context(), short); !errors.As(err, &digest) {
		t.Errorf("%v, want a *DigestError", err)
	}
	broken := errors.New("the medium broke")
	short.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:1000]), errReader{broken})), nil
	}
	if err := h.Put(t.Context(), short); !errors.Is(err, broken) {
		t.Errorf("%v, want the source's error", err)
	}
	entries := must(os.ReadDir(dir))(t)
	if got := must(os.ReadFile(path))(t); string(got) != "old" || len(entries) != 1 {
		t.Errorf("the file is %q, the folder holds %v", got[:3], entries)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestTunnels(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	f := h.Runner.(Forwarder)
	ln := must(f.Listen(t.Context()))(t)
	defer func() { _ = ln.Close() }()
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("from here"))
			_ = conn.Close()
		}
	}()
	conn := must(f.Dial(t.Context(), "tcp", ln.Addr().String()))(t)
	if got := must(io.ReadAll(conn))(t); string(got) != "from here" {
		t.Errorf("%q came through", got)
	}
}

func TestReconnects(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	ok(t, h.Do(t.Context(), "true"))
	r := h.Runner.(*SSH)
	r.mu.Lock()
	client := r.client
	r.mu.Unlock()
	_ = client.Close()
	if err := h.Do(t.Context(), "true"); err != nil {
		t.Errorf("after the connection was lost: %v", err)
	}
}

func TestJumpHost(t *testing.T) {
	jump, s := newServer(t, asIs), newServer(t, asIs)
	jo := jump.options()
	if err := s.host(t, func(o *SSHOptions) { o.Jump = &jo }).Do(t.Context(), "true"); err != nil {
		t.Error(err)
	}
	jo.HostKeys = HostKeys{Host: "jump", Fingerprints: []string{s.fingerprint}}
	var wrong *HostKeyError
	if err := s.host(t, func(o *SSHOptions) { o.Jump = &jo }).Do(t.Context(), "true"); !errors.As(err, &wrong) {
		t.Errorf("a jump host with another key: %v", err)
	}
}

func TestGather(t *testing.T) {
	h := &Host{SiteHost: &manifest.SiteHost{Name: "here", Address: "127.0.0.1"}, Runner: newServer(t, asIs).host(t, nil).Runner}
	f := must(h.Gather(t.Context()))(t)
	if f.OS == "" || f.CPUs == 0 || f.Memory == 0 || f.FreeVar == 0 || f.Hostname == "" || len(f.Listening) == 0 || f.Arch == "" {
		t.Errorf("%+v", f)
	}
	if f.Skew > time.Minute || f.Skew < -time.Minute {
		t.Errorf("this machine's clock differs from its own by %s", f.Skew)
	}
}

// TestResetKeepsRevokedKeys: reset deleted the installer's own trust folder where that is
// a host of the site, and what a revoked key signed was taken again.
func TestResetKeepsRevokedKeys(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	reset := func(names ...string) (dir, kept string) {
		t.Helper()
		dir = filepath.Join(t.TempDir(), "naru")
		for _, name := range names {
			ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			ok(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		return dir, must(h.Script(t.Context(), keepRevokedScript, "", dir))(t)
	}
	dir, kept := reset("ca.crt", "trust/a.pub", "trust/.b", "trust/revoked/bad.pub", ".hidden/x", "depot/tls.key")
	if kept != dir+"/trust/revoked" {
		t.Errorf("kept %q", kept)
	}
	var there []string
	ok(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			there = append(there, p)
		}
		return err
	}))
	if !slices.Equal(there, []string{dir + "/trust/revoked/bad.pub"}) {
		t.Errorf("there is %v", there)
	}
	for _, names := range [][]string{{"ca.crt", "trust/a.pub"}, {"ca.crt"}, nil} {
		dir, kept := reset(names...)
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || kept != "" {
			t.Errorf("%v: kept %q, %v", names, kept, err)
		}
	}
}

// TestResetKeepsTheRecord: reset deleted the site's key, journal and reports with the
// folder that naru keeps on a host.
func TestResetKeepsTheRecord(t *testing.T) {
	h := newServer(t, asIs).host(t, nil)
	dir := filepath.Join(t.TempDir(), "naru")
	for _, name := range []string{"site/site.key", "site/site.pub", "journal.jsonl", "reports/r.json", "harbor/robots/pull.json", "pki/ca.key", "kubeadm.done", "cluster", ".hidden/x", "bundles/v"} {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		ok(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	kept := strings.Fields(must(h.Script(t.Context(), keepRecordScript, dir))(t))
	want := []string{dir + "/harbor", dir + "/journal.jsonl", dir + "/reports", dir + "/site"}
	if !slices.Equal(kept, want) {
		t.Errorf("kept %v", kept)
	}
	var there []string
	for _, e := range must(os.ReadDir(dir))(t) {
		there = append(there, filepath.Join(dir, e.Name()))
	}
	if !slices.Equal(there, want) {
		t.Errorf("there is %v", there)
	}
	bare := filepath.Join(t.TempDir(), "naru")
	ok(t, os.MkdirAll(filepath.Join(bare, "pki"), 0o700))
	if out := must(h.Script(t.Context(), keepRecordScript, bare))(t); out != "" {
		t.Errorf("kept %q of a host without a record", out)
	}
	if _, err := os.Stat(bare); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder stays: %v", err)
	}
}

// TestCommandEndsBeforeItsInput: the lock of a site is a command that ends at once when
// the lock is taken, while its input stays open: a second run hung for ever.
func TestCommandEndsBeforeItsInput(t *testing.T) {
	for name, h := range map[string]*Host{
		"ssh":   newServer(t, asIs).host(t, nil),
		"local": {SiteHost: &manifest.SiteHost{Name: "h1"}, Runner: NewLocal("h1")},
	} {
		in, hold := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			_, err := h.Runner.Run(context.WithoutCancel(t.Context()), Command{Argv: []string{"/bin/sh", "-c", "exit 75"}, Stdin: in})
			ended <- err
		}()
		select {
		case err := <-ended:
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Code != 75 {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the command has ended, the call has not", name)
		}
		ok(t, hold.Close())
	}
}
