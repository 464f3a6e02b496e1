package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHOptions say how a host is reached.
type SSHOptions struct {
	// Host is its name in messages.
	Host string
	// Address and Port of its SSH server.
	Address string
	Port    int
	// User to log in as. Sudo becomes root with sudo -n, without a password.
	User string
	Sudo bool
	// Auth are tried in order.
	Auth []ssh.AuthMethod
	// HostKeys decides whether the server is the right one.
	HostKeys HostKeys
	// Jump, when set, is the server to go through.
	Jump *SSHOptions
	// Timeout for the connection with its handshake; 20 s if 0.
	Timeout time.Duration
}

// keepalive is how often a silent connection is asked for a sign of life; after
// three silent answers it is given up.
const keepalive = 10 * time.Second

// SSH is a Runner over SSH. It connects at its first command, and again after the
// connection was lost. Make it with NewSSH.
type SSH struct {
	opts SSHOptions

	mu     sync.Mutex
	client *ssh.Client
	jump   *ssh.Client
}

// NewSSH makes a Runner; nothing is connected yet.
func NewSSH(o SSHOptions) *SSH {
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	return &SSH{opts: o}
}

// Run implements Runner.
func (s *SSH) Run(ctx context.Context, c Command) (*Result, error) {
	client, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	session, err := client.NewSession()
	if err != nil { // the connection died since: once more from the start
		s.drop(client)
		if client, err = s.connected(ctx); err != nil {
			return nil, err
		}
		if session, err = client.NewSession(); err != nil {
			return nil, s.fail(err)
		}
	}
	defer func() { _ = session.Close() }()
	return s.runIn(ctx, client, session, c)
}

func (s *SSH) runIn(ctx context.Context, client *ssh.Client, session *ssh.Session, c Command) (*Result, error) {
	var stdout, stderr bounded
	session.Stdin, session.Stdout, session.Stderr = c.Stdin, &stdout, &stderr
	if c.Stdout != nil {
		session.Stdout = c.Stdout
	}
	argv := c.Argv
	if s.opts.Sudo {
		argv = append([]string{"sudo", "-n", "-H", "--"}, argv...)
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Run(quoteAll(argv)) }() // ends with the session
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		// The far side answers a close only when the command has ended, which a signal
		// may or may not bring about: what it printed is not waited for.
		_ = session.Signal(ssh.SIGTERM)
		_ = session.Close()
		return &Result{}, fmt.Errorf("%s: running %q: %w", s.opts.Host, describe(c.Argv), context.Cause(ctx))
	}
	r := &Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &exit):
		if s.opts.Sudo && sudoRefused(r.Stderr) {
			return r, &SudoError{Host: s.opts.Host, User: s.opts.User, Output: tail(r.Stderr, 200)}
		}
		return r, exitError(s.opts.Host, c, exit.ExitStatus(), r)
	default:
		s.drop(client)
		return r, s.fail(fmt.Errorf("running %q: %w", describe(c.Argv), err))
	}
}

// Listen implements Forwarder.
func (s *SSH) Listen(ctx context.Context) (net.Listener, error) {
	client, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	ln, err := client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, s.fail(fmt.Errorf("asking for a forwarded port: %w", err))
	}
	return ln, nil
}

// Dial implements Forwarder.
func (s *SSH) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	client, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	return client.DialContext(ctx, network, address)
}

// Close ends the connection.
func (s *SSH) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range []*ssh.Client{s.client, s.jump} {
		if c != nil {
			_ = c.Close()
		}
	}
	s.client, s.jump = nil, nil
	return nil
}

// connected is the connection, made now if there is none.
func (s *SSH) connected(ctx context.Context) (*ssh.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	client, err := s.dialAny(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	s.client = client
	go s.watch(client) // ends with the connection
	return client, nil
}

// dialAny tries each way that the host may show its key.
func (s *SSH) dialAny(ctx context.Context) (*ssh.Client, error) {
	var first error
	for _, algorithms := range s.opts.HostKeys.algorithms(s.hostPort()) {
		client, err := s.dial(ctx, algorithms)
		if err == nil {
			return client, nil
		}
		var key *HostKeyError
		var none *ssh.AlgorithmNegotiationError
		switch {
		case errors.As(err, &key):
			if first == nil || !errors.As(first, new(*HostKeyError)) {
				first = err
			}
		case errors.As(err, &none):
			if first == nil {
				first = err // it has no key of this kind
			}
		default:
			return nil, err
		}
	}
	return nil, first
}

func (s *SSH) hostPort() string {
	return net.JoinHostPort(s.opts.Address, strconv.Itoa(s.opts.Port))
}

func (s *SSH) dial(ctx context.Context, algorithms []string) (*ssh.Client, error) {
	conn, err := s.transport(ctx)
	if err != nil {
		return nil, err
	}
	var refused error
	config := &ssh.ClientConfig{
		User: s.opts.User,
		Auth: s.opts.Auth,
		HostKeyCallback: func(address string, remote net.Addr, key ssh.PublicKey) error {
			refused = s.opts.HostKeys.check(address, remote, key)
			return refused
		},
		HostKeyAlgorithms: algorithms,
		Timeout:           s.opts.Timeout,
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, s.hostPort(), config)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		if refused != nil {
			err = refused
		}
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// transport is the connection below SSH, through the jump host if there is one.
func (s *SSH) transport(ctx context.Context) (net.Conn, error) {
	if s.opts.Jump == nil {
		return (&net.Dialer{Timeout: s.opts.Timeout, KeepAlive: keepalive}).DialContext(ctx, "tcp", s.hostPort())
	}
	if s.jump == nil {
		jump, err := NewSSH(*s.opts.Jump).dialAny(ctx)
		if err != nil {
			return nil, fmt.Errorf("going through %s: %w", s.opts.Jump.Address, err)
		}
		s.jump = jump
	}
	conn, err := s.jump.DialContext(ctx, "tcp", s.hostPort())
	if err != nil {
		_ = s.jump.Close()
		s.jump = nil
		return nil, fmt.Errorf("going through %s: %w", s.opts.Jump.Address, err)
	}
	return conn, nil
}

// watch asks for signs of life and closes a connection that gives none.
func (s *SSH) watch(client *ssh.Client) {
	gone := make(chan struct{})
	go func() {
		_ = client.Wait()
		close(gone)
	}()
	tick := time.NewTicker(keepalive)
	defer tick.Stop()
	answered := make(chan error, 1)
	waiting, silent := false, 0
	for {
		select {
		case <-gone:
			s.drop(client)
			return
		case <-answered:
			waiting, silent = false, 0
		case <-tick.C:
			if waiting {
				if silent++; silent >= 3 {
					s.drop(client)
					return
				}
				continue
			}
			waiting = true
			go func() {
				_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
				answered <- err
			}()
		}
	}
}

// drop forgets a connection that is of no use any more.
func (s *SSH) drop(client *ssh.Client) {
	_ = client.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == client {
		s.client = nil
	}
}

func (s *SSH) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("the connection was closed by the host")
	}
	return &ConnectError{Host: s.opts.Host, Address: s.hostPort(), Err: err}
}
