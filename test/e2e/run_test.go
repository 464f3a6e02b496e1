//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// result is a program that ended.
type result struct {
	code           int
	stdout, stderr []byte
	took           time.Duration
	cpu            time.Duration
}

// environ is the environment of every program: our tools first, no configuration
// of the user's, a fixed date.
func (next *world) environ() []string {
	env := append(os.Environ(),
		"PATH="+next.tools+":"+os.Getenv("PATH"),
		"COSIGN_PASSWORD=e2e",
		"SOURCE_DATE_EPOCH="+epoch,
		"DOCKER_CONFIG="+next.path("docker"),
		"LC_ALL=C.UTF-8")
	return env
}

// program is the path of one of ours, or what PATH and the tools have.
func (next *world) program(name string) string {
	if name == "bundle" || name == "install" {
		return filepath.Join(next.bin, name)
	}
	if own := filepath.Join(next.tools, name); isFile(own) {
		return own
	}
	return name
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// command is a program that gets SIGTERM when ctx ends.
func (next *world) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, next.program(name), args...)
	cmd.Env = next.environ()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs a program to its end, whatever its exit code. The error says that it
// could not be run.
func (next *world) run(ctx context.Context, name string, args ...string) (result, error) {
	return finish(next.command(ctx, name, args...))
}

// finish runs cmd to its end.
func finish(cmd *exec.Cmd) (result, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	r := result{stdout: stdout.Bytes(), stderr: stderr.Bytes(), took: time.Since(start)}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return r, err
	}
	r.code = cmd.ProcessState.ExitCode()
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r, nil
}

// must runs a program that has to succeed.
func (next *world) must(ctx context.Context, name string, args ...string) (result, error) {
	r, err := next.run(ctx, name, args...)
	if err == nil && r.code != 0 {
		err = fmt.Errorf("exit code %d", r.code)
	}
	if err != nil {
		return r, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, r.stdout, r.stderr)
	}
	return r, nil
}

// ok runs a program that has to succeed.
func ok(t *testing.T, name string, args ...string) result {
	t.Helper()
	r, err := w.must(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// okJSON runs a program that has to succeed and decodes what it prints.
func okJSON(t *testing.T, out any, name string, args ...string) result {
	t.Helper()
	r := ok(t, name, args...)
	if err := json.Unmarshal(r.stdout, out); err != nil {
		t.Fatalf("%s %s: %v in %q", name, args[0], err, r.stdout)
	}
	return r
}

// built is what the tests read of the result of bundle build.
type built struct {
	Bundle   string
	UpToDate bool
	Images   int
	Volumes  []struct {
		Name, SHA256 string
		Size         int64
	}
}

// buildDemo builds the demo release from the shared store into out.
func buildDemo(t *testing.T, out string, more ...string) built {
	t.Helper()
	var b built
	okJSON(t, &b, "bundle", w.build(out, more...)...)
	return b
}

// write writes a small file into a folder of the test's own and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
