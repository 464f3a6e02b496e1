package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"naru/manifest"
)

// Host is a host of the site with what reaches it.
type Host struct {
	*manifest.SiteHost
	Runner Runner
	// Facts are gathered once; nil before.
	Facts *HostFacts
}

// Output runs a command and returns what it prints, trimmed.
func (h *Host) Output(ctx context.Context, argv ...string) (string, error) {
	r, err := h.Runner.Run(ctx, Command{Argv: argv})
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(r.Stdout)), nil
}

// Do runs a command for its effect.
func (h *Host) Do(ctx context.Context, argv ...string) error {
	_, err := h.Output(ctx, argv...)
	return err
}

// Script runs a fixed shell text with values as $1, $2 and so on, and returns what
// it prints, trimmed.
func (h *Host) Script(ctx context.Context, text string, args ...string) (string, error) {
	return h.Output(ctx, shell(text, args...)...)
}

// Secret is Script for what prints secrets: errors leave its output out.
func (h *Host) Secret(ctx context.Context, text string, args ...string) (string, error) {
	r, err := h.Runner.Run(ctx, Command{Argv: shell(text, args...), Secret: true})
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(r.Stdout)), nil
}

func shell(text string, args ...string) []string {
	return append([]string{"/bin/sh", "-euc", text, "naru"}, args...)
}

// Succeeds tells whether a command ends with code 0. A host that cannot be reached
// is an error all the same.
func (h *Host) Succeeds(ctx context.Context, argv ...string) (bool, error) {
	_, err := h.Runner.Run(ctx, Command{Argv: argv})
	var exit *ExitError
	if errors.As(err, &exit) {
		return false, nil
	}
	return err == nil, err
}

// Holds is Succeeds for a fixed shell text.
func (h *Host) Holds(ctx context.Context, text string, args ...string) (bool, error) {
	return h.Succeeds(ctx, shell(text, args...)...)
}

// exitMissing is the code with which scripts say that a file is not there.
const exitMissing = 44

// ReadFile reads a file; one that is not there is fs.ErrNotExist. Its content never
// stands in an error.
func (h *Host) ReadFile(ctx context.Context, path string) ([]byte, error) {
	r, err := h.Runner.Run(ctx, Command{Argv: shell(`[ -e "$1" ] || exit 44; exec cat -- "$1"`, path), Secret: true})
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code == exitMissing {
		return nil, fmt.Errorf("%s: reading %q: %w", h.Name, path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return r.Stdout, nil
}
