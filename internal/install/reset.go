package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"naru/internal/journal"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// ResetOptions are those of ResetSite.
type ResetOptions struct {
	SiteFile string
	// Hosts to reset; empty for all.
	Hosts []string
	// StateDir is this machine's own folder; where it has a site key, what was reset
	// is noted in the journal there. DefaultState if empty.
	StateDir string
	Progress progress.Observer
}

// Kept is what a reset left on a host of the site's signed record.
type Kept struct {
	Host  string   `json:"host"`
	Paths []string `json:"paths"`
}

// ResetResult is what a reset did.
type ResetResult struct {
	// Hosts that were reset, also where others failed.
	Hosts []string `json:"hosts"`
	// Left are hosts without naru's mark, where nothing was touched.
	Left []string `json:"left,omitempty"`
	// Kept are the site key, journal, reports, robots' logins and revoked keys that lie on
	// the hosts.
	Kept []Kept `json:"kept,omitempty"`
}

// ErrKeeper is returned when the first control plane alone is to be reset while
// others would stay.
var ErrKeeper = errors.New("the first control plane keeps the site's state: reset all hosts, or list another control plane first and apply; this one can leave then")

// UnknownHostError is a host that the site file does not have.
type UnknownHostError struct{ Name string }

func (e *UnknownHostError) Error() string {
	return fmt.Sprintf("the site file has no host %q", e.Name)
}

// OtherMachineError is a host of the site file that the installer is said to run on, while
// it runs on a machine without that address, which is not to be reset in its place.
type OtherMachineError struct{ Host, Address string }

func (e *OtherMachineError) Error() string {
	return fmt.Sprintf("the site file says that this machine is host %q, and no interface of it has the address %s: run this on that host, or give the host ssh in place of local", e.Host, e.Address)
}

// NotOursError is a host that a reset was asked for, or the first control plane through
// which one is to leave, and that is another cluster's. Nothing was changed on any host.
type NotOursError struct{ Host, Why string }

func (e *NotOursError) Error() string {
	return fmt.Sprintf("host %q is not this cluster's, and nothing was reset: %s", e.Host, e.Why)
}

// ResetTargets are the hosts that ResetSite will reset.
func ResetTargets(o ResetOptions) (*manifest.Site, []string, error) {
	site, err := LoadSite(o.SiteFile)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range o.Hosts {
		if site.Host(name) == nil {
			return nil, nil, &UnknownHostError{Name: name}
		}
	}
	var out []string
	for _, h := range site.Hosts {
		if len(o.Hosts) > 0 && !slices.Contains(o.Hosts, h.Name) {
			continue
		}
		if h.Local && !loopback(h.Address) && !thisMachine(h.Address) {
			return nil, nil, &OtherMachineError{Host: h.Name, Address: h.Address}
		}
		out = append(out, h.Name)
	}
	if len(out) < len(site.Hosts) && slices.Contains(out, site.ControlPlanes()[0].Name) {
		return nil, nil, ErrKeeper
	}
	return site, out, nil
}

// ResetSite takes everything of naru off hosts, but OS packages and the site's signed
// record. Single hosts leave the cluster first. Hosts are left on which apply works
// again; running it again completes what was cut off. A host that is another cluster's
// stops it before anything is touched (NotOursError), one without naru's mark is left as
// it is. It holds the site's lock; a first control plane that cannot be reached does not
// keep a reset of all hosts from the others.
func ResetSite(ctx context.Context, o ResetOptions) (*ResetResult, error) {
	site, targets, err := ResetTargets(o)
	if err != nil {
		return nil, err
	}
	c, err := NewCluster(site, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.Progress, c.StateDir = o.Progress, o.StateDir
	if c.StateDir == "" {
		c.StateDir = DefaultState
	}
	return c.reset(ctx, targets)
}

func (c *Cluster) reset(ctx context.Context, targets []string) (*ResetResult, error) {
	all := len(targets) == len(c.Site.Hosts)
	c.Progress.Start("reset", 0)
	if err := c.lockForReset(ctx, all); err != nil {
		return nil, err
	}
	defer c.Unlock()
	seen, err := c.lookAt(ctx, targets)
	if err != nil {
		return nil, err
	}
	if !all {
		for _, name := range targets {
			if err := c.leave(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	r, err := c.resetHosts(ctx, targets, seen)
	if len(r.Hosts) > 0 { // also where others could not be reset: nothing else says so later
		err = errors.Join(err, c.recordReset(r))
	}
	return r, err
}

// resetHosts resets the targets that were seen to be the site's, side by side. What it
// returns says also with an error what was done.
func (c *Cluster) resetHosts(ctx context.Context, targets []string, seen *looks) (*ResetResult, error) {
	kept, done := make([][]string, len(c.Hosts)), make([]bool, len(c.Hosts))
	err := c.onEach(ctx, func(ctx context.Context, i int, h *bootstrap.Host) (err error) {
		switch {
		case !slices.Contains(targets, h.Name):
			return nil
		case seen.failed[i] != nil: // it may answer by now, and be anybody's
			return seen.failed[i]
		case slices.Contains(seen.unmarked, h.Name):
			c.Progress.Note(line(h.Name, "has no mark of naru, and was left as it is"))
			return nil
		}
		c.Progress.Note(line(h.Name, "reset"))
		kept[i], err = h.Reset(ctx)
		done[i] = err == nil
		return err
	})
	r := &ResetResult{Left: seen.unmarked}
	for i, h := range c.Hosts {
		if done[i] {
			r.Hosts = append(r.Hosts, h.Name)
		}
		c.noteKept(h.Name, kept[i])
		if len(kept[i]) > 0 {
			r.Kept = append(r.Kept, Kept{Host: h.Name, Paths: kept[i]})
		}
	}
	return r, err
}

// looks are what a look at the targets of a reset told.
type looks struct {
	unmarked []string
	failed   []error // by host, why it could not be reached
}

// lookAt looks whose the targets are, and the first control plane, through which hosts
// leave. One that is another cluster's is an error.
func (c *Cluster) lookAt(ctx context.Context, targets []string) (*looks, error) {
	authority, err := c.standingCA(ctx)
	if err != nil {
		return nil, err
	}
	seen := &looks{failed: make([]error, len(c.Hosts))}
	unmarked := make([]bool, len(c.Hosts))
	err = c.onEach(ctx, func(ctx context.Context, i int, h *bootstrap.Host) error {
		target := slices.Contains(targets, h.Name)
		if !target && h.Name != c.keeper().Name {
			return nil
		}
		whose, why, err := c.ownerOf(ctx, h, authority)
		switch {
		case target && errors.As(err, new(*bootstrap.ConnectError)):
			seen.failed[i] = err
			return nil
		case err != nil:
			return err
		case whose == ownerOther:
			return &NotOursError{Host: h.Name, Why: why}
		}
		unmarked[i] = target && whose == ownerNone
		return nil
	})
	for i, h := range c.Hosts {
		if unmarked[i] {
			seen.unmarked = append(seen.unmarked, h.Name)
		}
	}
	return seen, err
}

// lockForReset takes the site's lock.
func (c *Cluster) lockForReset(ctx context.Context, all bool) error {
	err := c.lock(ctx)
	var gone *bootstrap.ConnectError
	if all && errors.As(err, &gone) {
		c.Progress.Note("warning: the site was not locked: " + gone.Error())
		return nil
	}
	return err
}

// noteKept says what a reset left on a host.
func (c *Cluster) noteKept(host string, paths []string) {
	if len(paths) > 0 {
		c.Progress.Note(line(host, "kept, as it is of the site's record: "+strings.Join(paths, " ")))
	}
}

// recordReset notes a reset in the site's journal, where this machine has one.
func (c *Cluster) recordReset(r *ResetResult) error {
	dir := filepath.Join(c.StateDir, "site")
	if _, err := os.Stat(filepath.Join(dir, sitekey.PrivateName)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	key, err := sitekey.Load(dir)
	if err != nil {
		return err
	}
	_, err = journal.Append(filepath.Join(c.StateDir, "journal.jsonl"), key, "install-reset", struct {
		Cluster string `json:"cluster"`
		*ResetResult
	}{c.Site.Name, r})
	return err
}

// leave takes one host out of a cluster that goes on.
func (c *Cluster) leave(ctx context.Context, name string) error {
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == name {
			return c.remove(ctx, leaver{name: n.Name, address: n.Address, node: true, controlPlane: n.ControlPlane, host: c.host(name)})
		}
	}
	return nil
}
