package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// claimPhase locks the site against a second run and marks its hosts as naru's.
//
// INPUTS: hosts that passed preflight. OUTPUTS: a lock on the first control plane,
// held as long as this process is connected; on each host the name of the cluster,
// by which the next preflight tells what is naru's own from what stands in the way.
// Rerunning is safe: the lock goes with the connection, also when the installer is
// killed.
func claimPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "claim", Title: "lock the site", Needed: true, Tasks: func(c *Cluster) []phase.Task {
		tasks := []phase.Task{{What: "lock the site", Quiet: true, Interruptible: true, Do: c.lock}}
		return append(tasks, each(c.Hosts, func(h *bootstrap.Host) []phase.Task {
			return []phase.Task{filesTask(h, "mark the host as the cluster's", func() []bootstrap.File {
				return []bootstrap.File{{Path: claimPath, Mode: "0644", Content: []byte(c.Site.Name + "\n")}}
			})}
		})...)
	}}
}

// claimPath holds the name of the cluster that a host belongs to.
const claimPath = bootstrap.StateDir + "/cluster"

// LockedError says that another run works on the site.
type LockedError struct{ Host string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("locking the site on %q: another run works on it", e.Host)
}

// exitLocked is the code with which the lock's script says that it is taken.
const exitLocked = 75

// lock takes the lock on the first control plane, and on the host that was it when
// the site was applied last, where that is another one that can still be reached: a
// run with the former site file locks that.
func (c *Cluster) lock(ctx context.Context) error {
	if err := c.lockOn(ctx, c.keeper()); err != nil {
		return err
	}
	was, closeIt, err := c.lastKeeper(ctx)
	if err != nil || was == nil {
		return err
	}
	err = c.lockOn(ctx, was)
	var gone *bootstrap.ConnectError
	if errors.As(err, &gone) {
		c.Progress.Note("warning: the site was not locked on its former first control plane: " + gone.Error())
		err = nil
	}
	if err != nil {
		closeIt()
		return err
	}
	c.onUnlock(closeIt)
	return nil
}

// lockOn takes the lock on one host. It is held by a command there that ends with its
// input, and so with this process.
func (c *Cluster) lockOn(ctx context.Context, h *bootstrap.Host) error {
	in, hold := io.Pipe()
	out := &firstLine{got: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { // ends with the connection, or with unlock
		_, err := h.Runner.Run(context.WithoutCancel(ctx), bootstrap.Command{
			Argv:  []string{"/bin/sh", "-euc", `install -d -m 0755 /run/naru; exec flock -n -E 75 /run/naru/apply.lock sh -c 'echo locked; exec cat >/dev/null'`},
			Stdin: in, Stdout: out})
		ended <- err
	}()
	select {
	case <-out.got:
		c.onUnlock(func() {
			_ = hold.Close()
			select {
			case <-ended:
			case <-time.After(3 * time.Second):
			}
		})
		return nil
	case err := <-ended:
		_ = hold.Close()
		var exit *bootstrap.ExitError
		if errors.As(err, &exit) && exit.Code == exitLocked {
			return &LockedError{Host: h.Name}
		}
		return fmt.Errorf("locking the site: %w", err)
	case <-ctx.Done():
		_ = hold.Close()
		return context.Cause(ctx)
	}
}

// onUnlock has f called by Unlock, before what was given to it earlier.
func (c *Cluster) onUnlock(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.unlock
	c.unlock = func() {
		f()
		if before != nil {
			before()
		}
	}
}

// Unlock lets other runs at the site.
func (c *Cluster) Unlock() {
	c.mu.Lock()
	f := c.unlock
	c.unlock = nil
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// firstLine closes got at the first line written to it.
type firstLine struct {
	got  chan struct{}
	text strings.Builder
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	if !f.done {
		f.text.Write(p)
		if strings.Contains(f.text.String(), "\n") {
			f.done = true
			close(f.got)
		}
	}
	return len(p), nil
}
