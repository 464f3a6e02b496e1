package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Command is what a Runner runs, as root.
type Command struct {
	// Argv is the program with its arguments. They may stand in logs and in the
	// process list: never a secret.
	Argv []string
	// Stdin is read to its end, or to that of the command; nil for none. A read that
	// does not return may outlive the command.
	Stdin io.Reader
	// Stdout gets standard output while it comes; nil collects it in the result.
	Stdout io.Writer
	// Secret keeps what the command prints out of errors.
	Secret bool
}

// Result is what a command printed. Each is bounded by maxOutput.
type Result struct{ Stdout, Stderr []byte }

// maxOutput bounds, in bytes, what is collected of one stream.
const maxOutput = 16 << 20

// Runner runs commands on one host as root. It is safe for concurrent use.
type Runner interface {
	// Run runs one command to its end. A command that ends with another code than 0
	// is an *ExitError, with the result; a host that cannot be reached or refuses
	// is a *ConnectError. When ctx ends the command is told to end as well.
	Run(ctx context.Context, c Command) (*Result, error)
	Close() error
}

// Forwarder is a Runner that can carry connections.
type Forwarder interface {
	// Listen accepts connections on a loopback port of the host.
	Listen(ctx context.Context) (net.Listener, error)
	// Dial connects from the host to an address that it reaches.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// ExitError is a command that ended with a code other than 0.
type ExitError struct {
	Host string
	Argv []string
	Code int
	// Output is the end of what it printed, for people; empty for secret commands.
	Output string
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s: running %q: exit code %d", e.Host, describe(e.Argv), e.Code)
	if e.Output != "" {
		msg += ": " + e.Output
	}
	return msg
}

// describe is an argument list in short: scripts by their first line.
func describe(argv []string) string {
	var words []string
	for _, a := range argv {
		a, _, _ = strings.Cut(strings.TrimSpace(a), "\n")
		if len(a) > 120 {
			a = a[:120] + "..."
		}
		words = append(words, a)
		if len(words) == 12 {
			words = append(words, "...")
			break
		}
	}
	return strings.Join(words, " ")
}

// ConnectError is a host that could not be reached, or that refused.
type ConnectError struct {
	Host, Address string
	Err           error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("%s: connecting to %s: %v", e.Host, e.Address, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// SudoError is a host where the user may not become root without a password.
type SudoError struct{ Host, User, Output string }

func (e *SudoError) Error() string {
	return fmt.Sprintf("%s: becoming root as %q with sudo -n: %s", e.Host, e.User, e.Output)
}

// exitError makes the error of a command that failed, out of the ends of both streams.
func exitError(host string, c Command, code int, r *Result) error {
	e := &ExitError{Host: host, Argv: c.Argv, Code: code}
	if !c.Secret {
		e.Output = tail(r.Stderr, 1200)
		if e.Output == "" {
			e.Output = tail(r.Stdout, 1200)
		}
	}
	return e
}

// tail is the end of some output, at most n bytes, trimmed.
func tail(b []byte, n int) string {
	b = bytes.TrimSpace(b)
	if len(b) > n {
		b = b[len(b)-n:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(b)
}

// sudoRefused tells whether sudo itself refused, from what it printed.
func sudoRefused(stderr []byte) bool {
	for _, s := range []string{"sudo: a password is required", "sudo: a terminal is required", "is not in the sudoers file", "is not allowed to execute", "sudo: command not found", "sudo: not found"} {
		if bytes.Contains(stderr, []byte(s)) {
			return true
		}
	}
	return false
}

// feed copies src into a command's input and closes that. The function that it returns
// is called once the command has ended: the copying ends then as well, unless src does
// not answer, which is not waited for: a command need not read on.
func feed(dst io.WriteCloser, src io.Reader) (settle func()) {
	done := make(chan struct{})
	go func() { // ends with src, or with the first write after the command ended
		defer close(done)
		_, _ = io.Copy(dst, src)
		_ = dst.Close()
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(time.Second):
		}
	}
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	safe := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || r == '/' || r == ':' || r == ',' || r == '@' || r == '+' ||
			'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func quoteAll(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = quote(a)
	}
	return strings.Join(words, " ")
}

// bounded collects at most maxOutput bytes and drops the rest.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room < len(p) {
		_, _ = b.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
