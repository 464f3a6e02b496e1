package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openTerminal makes a pseudo terminal and returns both of its ends.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	person = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

func TestAskTwice(t *testing.T) {
	for name, test := range map[string]struct {
		typed string
		want  error
	}{
		"same":      {"secret\nsecret\n", nil},
		"different": {"secret\nsecert\n", ErrPasswordsDiffer},
	} {
		person, program := openTerminal(t)
		if _, err := person.WriteString(test.typed); err != nil {
			t.Fatal(err)
		}
		var prompt bytes.Buffer
		got, err := PasswordSource{Terminal: program, Prompt: &prompt}.Password(t.Context(), true)
		if !errors.Is(err, test.want) || (err == nil && string(got) != "secret") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if want := "Password for the private key: \nThe same password again: \n"; prompt.String() != want {
			t.Errorf("%s: asked %q", name, prompt.String())
		}
	}
}

// TestAskStops interrupts a person who does not answer, and finds the terminal
// echoing again.
func TestAskStops(t *testing.T) {
	person, program := openTerminal(t)
	before, err := term.GetState(int(program.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := time.NewTicker(time.Millisecond)
	defer watch.Stop()
	result := make(chan error, 1)
	go func() {
		_, err := PasswordSource{Terminal: program}.Password(ctx, false)
		result <- err
	}()
	for range watch.C { // until the echo is off
		if now, err := term.GetState(int(person.Fd())); err != nil || *now != *before {
			break
		}
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if after, err := term.GetState(int(program.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal is not as it was: %v", err)
	}
	if _, err := (PasswordSource{Terminal: program}).Password(ctx, false); !errors.Is(err, context.Canceled) {
		t.Errorf("asking after the end: got %v, want context.Canceled", err)
	}
	if _, err := person.WriteString("\n"); err != nil { // ends the read that is left
		t.Error(err)
	}
}
