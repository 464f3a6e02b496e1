package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// snapshotsKept is how many snapshots of etcd stay on the first control plane.
const snapshotsKept = 5

// How long etcd may take to begin its answer, and to go on with it: a snapshot may be
// gigabytes, but a member that hangs is silent. Tasks have deadlines of their own, of
// many minutes.
const (
	etcdAnswer = 30 * time.Second
	etcdIdle   = time.Minute
)

// etcdMemberClient asks one member of etcd.
type etcdMemberClient struct {
	http *http.Client
	url  string
	// answer is how long an answer may take to begin, idle how long it may stand still.
	answer, idle time.Duration
}

// etcdClient speaks to the etcd of the first control plane, over the host's own
// connection, in the JSON that etcd offers beside gRPC. No etcdctl is needed.
func (c *Cluster) etcdClient(ctx context.Context) (*etcdMemberClient, error) {
	h := c.keeper()
	f, ok := h.Runner.(bootstrap.Forwarder)
	if !ok {
		return nil, errors.New("speaking to etcd: the host's connection cannot carry others")
	}
	const dir = "/etc/kubernetes/pki/etcd/"
	var pems [3][]byte
	for i, name := range []string{"ca.crt", "healthcheck-client.crt", "healthcheck-client.key"} {
		data, err := h.ReadFile(ctx, dir+name)
		if err != nil {
			return nil, fmt.Errorf("speaking to etcd: %w", err)
		}
		pems[i] = data
	}
	pair, err := tls.X509KeyPair(pems[1], pems[2])
	if err != nil {
		return nil, fmt.Errorf("speaking to etcd: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pems[0])
	transport := &http.Transport{DialContext: f.Dial,
		DisableKeepAlives: true, // each call has a client of its own
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	return &etcdMemberClient{http: &http.Client{Transport: transport}, url: "https://127.0.0.1:2379", answer: etcdAnswer, idle: etcdIdle}, nil
}

// etcdCall posts a request and returns the body, which the caller closes.
func (c *Cluster) etcdCall(ctx context.Context, path string, in any) (io.ReadCloser, error) {
	client, err := c.etcdClient(ctx)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("asking etcd: %w", err)
	}
	return client.post(ctx, path, body)
}

// post posts a request and returns the body of the answer, which the caller closes. A
// member that does not answer, or stops in the middle, is a *phase.DeadlineError, also
// from reading the body.
func (m *etcdMemberClient) post(ctx context.Context, path string, body []byte) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	answer := &etcdBody{ctx: ctx, cancel: cancel, idle: m.idle}
	answer.left = time.AfterFunc(m.answer, func() { cancel(&phase.DeadlineError{After: m.answer}) })
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url+path, bytes.NewReader(body))
	if err != nil {
		answer.stop()
		return nil, fmt.Errorf("asking etcd: %w", err)
	}
	resp, err := m.http.Do(req) //nolint:bodyclose // whoever gets it closes it
	if err != nil {
		err = answer.explain(err)
		answer.stop()
		return nil, fmt.Errorf("asking etcd for %s: %w", path, err)
	}
	answer.left.Stop()
	answer.left = time.AfterFunc(m.idle, func() { cancel(&phase.DeadlineError{After: m.idle}) })
	answer.ReadCloser = resp.Body
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer, 1000))
		_ = answer.Close()
		return nil, fmt.Errorf("asking etcd for %s: %s: %s", path, resp.Status, strings.TrimSpace(string(text)))
	}
	return answer, nil
}

// etcdBody is an answer of etcd that has to go on.
type etcdBody struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // that of the request whose answer this is
	cancel context.CancelCauseFunc
	left   *time.Timer
	idle   time.Duration
}

// explain is err, or that time ran out where that is why.
func (b *etcdBody) explain(err error) error {
	var late *phase.DeadlineError
	if cause := context.Cause(b.ctx); errors.As(cause, &late) {
		return cause
	}
	return err
}

// Read implements [io.Reader].
func (b *etcdBody) Read(p []byte) (int, error) {
	b.left.Reset(b.idle)
	defer b.left.Stop() // the reader may take its time
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.explain(err)
	}
	return n, err
}

func (b *etcdBody) stop() {
	b.left.Stop()
	b.cancel(nil)
}

// Close implements [io.Closer].
func (b *etcdBody) Close() error {
	defer b.stop()
	return b.ReadCloser.Close()
}

type etcdMember struct {
	ID       string   `json:"ID"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
}

func (c *Cluster) etcdMembers(ctx context.Context) ([]etcdMember, error) {
	body, err := c.etcdCall(ctx, "/v3/cluster/member/list", struct{}{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	var list struct {
		Members []etcdMember `json:"members"`
	}
	if err := json.NewDecoder(io.LimitReader(body, 4<<20)).Decode(&list); err != nil {
		return nil, fmt.Errorf("listing the members of etcd: %w", err)
	}
	return list.Members, nil
}

// removeMember takes a host out of etcd; one that is none of its members is fine.
func (c *Cluster) removeMember(ctx context.Context, name, address string) error {
	members, err := c.etcdMembers(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		peer := address != "" && strings.Contains(strings.Join(m.PeerURLs, " "), "//"+bracket(address)+":")
		if m.Name != name && !peer {
			continue
		}
		body, err := c.etcdCall(ctx, "/v3/cluster/member/remove", map[string]string{"ID": m.ID})
		if err != nil {
			return fmt.Errorf("removing %q from etcd: %w", name, err)
		}
		_ = body.Close()
	}
	return nil
}

// keepSnapshotScript names the snapshot $2, and removes those of naru's in $1 from the $3rd
// on, and what was cut off. Snapshots that somebody else put there have other names.
const keepSnapshotScript = `mv -f "$2.part" "$2"
d=[0-9][0-9]
n=$d$d$d${d}T$d$d${d}Z.db
ls -1t "$1"/$n | tail -n "+$3" | while read -r f; do rm -f "$f"; done
rm -f "$1"/$n.part`

// SnapshotError is a snapshot whose bytes are not what etcd said it sent.
type SnapshotError struct{ Why string }

func (e *SnapshotError) Error() string { return "taking a snapshot of etcd: " + e.Why }

// snapshot keeps a copy of etcd on the first control plane. etcd
// ends a snapshot with its SHA-256, which is checked before the copy counts.
func (c *Cluster) snapshot(ctx context.Context, why string) error {
	body, err := c.etcdCall(ctx, "/v3/maintenance/snapshot", struct{}{})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	const dir = bootstrap.StateDir + "/etcd"
	to := fmt.Sprintf("%s/%s.db", dir, time.Now().UTC().Format("20060102T150405Z"))
	s := &snapshotReader{dec: json.NewDecoder(body), sum: sha256.New()}
	_, err = c.keeper().Runner.Run(ctx, bootstrap.Command{Argv: []string{"/bin/sh", "-euc", `umask 077; install -d -m 0700 "$1"; cat >"$2.part"; sync "$2.part"`, "naru", dir, to}, Stdin: s, Secret: true})
	if err = errors.Join(err, s.check()); err != nil {
		return err
	}
	_, err = c.keeper().Script(ctx, keepSnapshotScript, dir, to, fmt.Sprint(snapshotsKept+1))
	c.Progress.Note(fmt.Sprintf("etcd: snapshot %s:%s, %s", c.keeper().Name, to, why))
	return err
}

// snapshotReader joins the pieces of a snapshot, hashing all but the hash at the end.
type snapshotReader struct {
	dec interface{ Decode(any) error }
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	rest []byte // of the piece in hand, not read yet
	held []byte // the last 32 bytes so far
	n    int64
	err  error
}

func (s *snapshotReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		var piece struct {
			Result struct {
				Blob []byte `json:"blob"`
			} `json:"result"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := s.dec.Decode(&piece); err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return 0, io.EOF
		}
		if piece.Error != nil {
			s.err = &SnapshotError{Why: piece.Error.Message}
			return 0, io.EOF
		}
		s.rest = piece.Result.Blob
		s.n += int64(len(s.rest))
		all := append(s.held, s.rest...)
		keep := max(len(all)-sha256.Size, 0)
		_, _ = s.sum.Write(all[:keep])
		s.held = bytes.Clone(all[keep:])
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *snapshotReader) check() error {
	switch {
	case s.err != nil:
		return s.err
	case s.n <= sha256.Size:
		return &SnapshotError{Why: "it is empty"}
	case !bytes.Equal(s.sum.Sum(nil), s.held):
		return &SnapshotError{Why: "its checksum is wrong"}
	}
	return nil
}
