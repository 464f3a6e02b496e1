package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// PasswordVariable is the environment variable that holds the password of a
// private key, the same as for cosign.
const PasswordVariable = "COSIGN_PASSWORD"

// maxPasswordSize is the longest password, in bytes, that is taken from a file.
const maxPasswordSize = 4 << 10

// PasswordFunc returns the password of a private key. With confirm it is for a new
// key, and a person is asked twice. The slice is the caller's.
type PasswordFunc func(ctx context.Context, confirm bool) ([]byte, error)

// PasswordSource finds a password in a file, else in the environment, else by
// asking on a terminal. The zero value finds none. There is no way to give one as
// an argument, where every user of the machine could read it.
type PasswordSource struct {
	// File holds the password; one line end after it is cut off. It may be a pipe.
	File string
	// LookupEnv is os.LookupEnv; nil leaves the environment out. An empty
	// variable is an empty password, as for cosign.
	LookupEnv func(name string) (string, bool)
	// Terminal is what a person types on, usually os.Stdin; nil, or something
	// that is no terminal, asks nobody.
	Terminal *os.File
	// Prompt is where the question goes, usually os.Stderr.
	Prompt io.Writer
}

// Password is a PasswordFunc. Errors: ErrNoPassword, ErrPasswordsDiffer, and what
// reading fails with.
func (s PasswordSource) Password(ctx context.Context, confirm bool) ([]byte, error) {
	if s.File != "" {
		return readPasswordFile(s.File)
	}
	if s.LookupEnv != nil {
		if value, ok := s.LookupEnv(PasswordVariable); ok {
			return []byte(value), nil
		}
	}
	if s.Terminal == nil || !term.IsTerminal(int(s.Terminal.Fd())) {
		return nil, fmt.Errorf("reading the password: %w", ErrNoPassword)
	}
	password, err := s.ask(ctx, "Password for the private key: ")
	if err != nil || !confirm {
		return password, err
	}
	again, err := s.ask(ctx, "The same password again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(password, again) {
		return nil, fmt.Errorf("reading the password: %w", ErrPasswordsDiffer)
	}
	return password, nil
}

func readPasswordFile(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxPasswordSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the password from %q: %w", path, err)
	}
	if len(data) > maxPasswordSize {
		return nil, fmt.Errorf("reading the password from %q: longer than %d bytes", path, maxPasswordSize)
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	if len(data) == 0 {
		return nil, fmt.Errorf("reading the password from %q: the file is empty", path)
	}
	if bytes.ContainsAny(data, "\r\n") {
		return nil, fmt.Errorf("reading the password from %q: more than one line", path)
	}
	return data, nil
}

// ask reads one line without echo. When ctx ends, the terminal is put back as it
// was; the read itself cannot be interrupted and ends with the next line or the
// program.
func (s PasswordSource) ask(ctx context.Context, question string) ([]byte, error) {
	if err := ctx.Err(); err != nil { // before the echo goes off
		return nil, fmt.Errorf("asking for the password: %w", err)
	}
	if s.Prompt != nil {
		if _, err := io.WriteString(s.Prompt, question); err != nil {
			return nil, fmt.Errorf("asking for the password: %w", err)
		}
		defer func() { _, _ = io.WriteString(s.Prompt, "\n") }()
	}
	fd := int(s.Terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("asking for the password: %w", err)
	}
	type answer struct {
		password []byte
		err      error
	}
	answers := make(chan answer, 1)
	go func() {
		password, err := term.ReadPassword(fd)
		answers <- answer{password, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("asking for the password: %w", a.err)
		}
		return a.password, nil
	case <-ctx.Done():
		_ = term.Restore(fd, state)
		return nil, fmt.Errorf("asking for the password: %w", context.Cause(ctx))
	}
}
