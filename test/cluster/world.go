package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"naru/test/lab/hosts"
	"naru/test/lab/upstream"
)

// world is the state of one run; each step reads what the ones before it set.
type world struct {
	bin, cache, name string
	kills            int
	seed             int64
	keep, minor      bool

	work string // what this run makes; of the lab's name, so that -from finds it
	rand *rand.Rand
	up   *upstream.Upstream
	lab  *hosts.Lab
	site site
}

func (w *world) open() error {
	if err := abs(&w.bin, &w.cache); err != nil {
		return err
	}
	w.rand = rand.New(rand.NewPCG(uint64(w.seed), 0))
	w.work = filepath.Join(os.TempDir(), "naru-cluster-"+w.name)
	if err := os.MkdirAll(w.path("home"), 0o700); err != nil {
		return err
	}
	if l, err := hosts.Open("", w.name); err == nil {
		w.lab = l
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	w.site = clusterSite()
	if w.lab != nil { // an earlier run's: what it had added
		for _, h := range w.lab.Hosts {
			if added, ok := addedHosts()[h.Name]; ok && w.lab.Powered(h.Name) {
				w.site = w.site.with(added)
			}
		}
	}
	return nil
}

func (w *world) close(ctx context.Context) error {
	var errs []error
	if w.up != nil {
		errs = append(errs, w.up.Close())
	}
	if w.keep {
		fmt.Printf("left running: bin/lab-hosts -lab %s status\n", w.name)
		return errors.Join(errs...)
	}
	if w.lab != nil {
		errs = append(errs, w.lab.Down(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(w.work))...)
}

func (w *world) path(name string) string { return filepath.Join(w.work, name) }

// result is what a program said.
type result struct {
	stdout, stderr string
	code           int
	took           time.Duration
}

// all is both outputs, for looking for words.
func (r result) all() string { return r.stdout + r.stderr }

// exec runs cmd and returns what it said; only a program that did not run to its
// end is an error.
func (w *world) exec(cmd *exec.Cmd) (result, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=lab", "HOME="+w.path("home"), "XDG_CACHE_HOME="+w.path("home/.cache"), "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "XDG_STATE_HOME=", "SSH_AUTH_SOCK=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	start := time.Now()
	err := cmd.Run()
	r := result{stdout: out.String(), stderr: errOut.String(), took: time.Since(start)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.code = exit.ExitCode()
		err = nil
	}
	if err != nil {
		return r, fmt.Errorf("running %q: %w", cmd.Args, err)
	}
	return r, nil
}

// ok runs cmd, which must succeed.
func (w *world) ok(cmd *exec.Cmd) (result, error) {
	r, err := w.exec(cmd)
	if err == nil && r.code != 0 {
		err = fmt.Errorf("running %q: exit code %d: %s", cmd.Args, r.code, last(r.all(), 3000))
	}
	return r, err
}

// bundle runs the bundle program on this machine.
func (w *world) bundle(ctx context.Context, args ...string) (result, error) {
	return w.ok(exec.CommandContext(ctx, filepath.Join(w.bin, "bundle"), args...))
}

// install is the install program, run on the segment.
func (w *world) install(ctx context.Context, args ...string) *exec.Cmd {
	return w.lab.Command(ctx, append([]string{filepath.Join(w.bin, "install")}, args...)...)
}

// apply is install apply of the bundle with a site file.
func (w *world) apply(ctx context.Context, s site) (*exec.Cmd, error) {
	return w.applyMedia(ctx, s, w.media())
}

// applyMedia is install apply of another bundle.
func (w *world) applyMedia(ctx context.Context, s site, media string) (*exec.Cmd, error) {
	file, err := w.writeSite(s)
	if err != nil {
		return nil, err
	}
	return w.install(ctx, "apply", media, "-f", file, "--key", w.pub(), "--state", w.path("operator"), "--progress", "plain", "--output", "json"), nil
}

func (w *world) media() string { return w.path("media") }
func (w *world) key() string   { return w.path("cosign.key") }
func (w *world) pub() string   { return w.path("cosign.pub") }

// applied is what is read of the result of install apply.
type applied struct {
	Changed int
	Seconds float64
	Phases  []struct {
		Name           string
		Began, Seconds float64
		Changed        int
	}
	Tasks []struct {
		Phase, Host, What string
		Seconds           float64
	}
}

func decode(r result) (applied, error) {
	var a applied
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil {
		return a, fmt.Errorf("reading the result of install apply: %w: %s", err, last(r.stdout, 500))
	}
	return a, nil
}

// kubectl runs kubectl on the segment, with the cluster's own credentials and
// through its endpoint.
func (w *world) kubectl(ctx context.Context, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	argv := append([]string{w.path("kubectl"), "--kubeconfig", w.path("admin.conf"), "--request-timeout", "10s"}, args...)
	r, err := w.ok(w.lab.Command(ctx, argv...))
	return r.stdout, err
}

// within tries f until it succeeds, and returns how long that took.
func within(ctx context.Context, limit time.Duration, f func(context.Context) error) (time.Duration, error) {
	start := time.Now()
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return time.Since(start), nil
		}
		if last == nil || ctx.Err() == nil { // not what the end of the time itself broke
			last = err
		}
		select {
		case <-ctx.Done():
			return time.Since(start), fmt.Errorf("not within %s: %w", limit, last)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// explain prints what helps to understand a failure.
func (w *world) explain(ctx context.Context) {
	if w.lab == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	if out, err := w.kubectl(ctx, "get", "nodes,pods,events", "-A", "-o", "wide"); err == nil {
		fmt.Println(last(out, 8000))
	}
	for _, h := range w.lab.Hosts {
		if !w.lab.Powered(h.Name) {
			fmt.Printf("-- %s is off\n", h.Name)
			continue
		}
		out, err := w.lab.SSH(ctx, h.Name, "journalctl --no-pager -p warning -n 200 | grep -vE 'pam_env|mount options|CPUShares|MemoryLimit' | tail -n 20; systemctl --no-pager --failed")
		if err != nil {
			out = err.Error()
		}
		fmt.Printf("-- %s\n%s\n", h.Name, strings.TrimSpace(last(out, 4000)))
	}
}
