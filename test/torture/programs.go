package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// programs shows a wounded medium to sha256sum and to install verify.
func (p *patient) programs(ctx context.Context, w wound) error {
	refused, said, err := sha256sum(ctx, p.dir)
	if err != nil {
		return err
	}
	if !refused || !strings.Contains(said, w.file+": FAILED") {
		p.tally.fail(fmt.Errorf("%s: sha256sum -c does not name it: %s", w, said))
	}
	code, said, err := p.installVerify(ctx, p.dir)
	if err != nil {
		return err
	}
	if !refusal(code) {
		p.tally.fail(fmt.Errorf("%s: install verify ends with code %d: %s", w, code, said))
	}
	want := w.file
	if touched, content := p.touched(w); content && slices.Contains(p.volumes, w.file) {
		want = touched[slices.IndexFunc(touched, region.signed)].blob()
	}
	if len(w.xor) == 1 && !p.inHead(w) && !strings.Contains(said, want) {
		p.tally.fail(fmt.Errorf("%s: install verify does not name %q: %s", w, want, said))
	}
	p.tally.count("programs")
	return nil
}

// inHead reports whether a change is in what every volume starts with, where a volume
// may come to claim that it is another one.
func (p *patient) inHead(w wound) bool {
	regions, _ := p.touched(w)
	return slices.ContainsFunc(regions, region.head)
}

// refusal reports whether an exit code says that the bundle is not to be believed.
func refusal(code int) bool {
	const integrity, trust, version = 5, 6, 9 // docs/cli.md
	return code == integrity || code == trust || code == version
}

// installVerify runs install verify and returns its exit code and what it said.
func (s *suite) installVerify(ctx context.Context, dir string) (int, string, error) {
	err := s.program(ctx, nil, "install", "verify", dir, "--key", s.key+".pub", "--progress", "none")
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.Code, exit.Stderr, nil
	}
	return 0, "", err
}

// sha256sum runs sha256sum -c in dir and reports whether it refused, and what it said.
func sha256sum(ctx context.Context, dir string) (bool, string, error) {
	cmd := exec.CommandContext(ctx, "sha256sum", "--quiet", "-c", "SHA256SUMS")
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return true, said.String(), nil
	}
	return false, said.String(), err
}
