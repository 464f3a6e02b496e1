package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"naru/manifest"
	"naru/pkg/bootstrap"
)

// A host that left and could not be reset goes on with all that it was: its kubelet, its
// mirrors, its keys. The site file that says how to reach it is replaced at the end of the
// run, so the control planes keep it apart, in a folder with a file a host, until the host
// was reset, is another one, or is back in the site.

// owedDir is that folder.
const owedDir = bootstrap.StateDir + "/left"

func owedPath(name string) string { return path.Join(owedDir, name+".yaml") }

// owedAnswer is how long a host that left earlier is given to answer: it may be gone for
// good, and each run asks.
const owedAnswer = 5 * time.Second

// formerHost is a host as a former site file said that it is reached; nil where that
// cannot be told, as where its key is gone, or where the installer ran on it then and
// runs on another machine now: that one is not to be taken for it.
func (c *Cluster) formerHost(site *manifest.Site, h *manifest.SiteHost) *bootstrap.Host {
	if h.Local && !thisMachine(h.Address) {
		return nil
	}
	dial := c.newRunner
	if dial == nil {
		dial = bootstrap.NewRunner
	}
	r, err := dial(site, h)
	if err != nil {
		return nil
	}
	return &bootstrap.Host{SiteHost: h, Runner: r}
}

// thisMachine tells whether an address is one of this machine. A loopback address, which
// every machine has, tells nothing.
func thisMachine(address string) bool {
	want, err := netip.ParseAddr(address)
	if err != nil || want.IsLoopback() {
		return false
	}
	own, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == want.Unmap()
	})
}

// loopback tells addresses that stand for any machine, which a site of this host alone
// may have.
func loopback(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && a.IsLoopback()
}

// wasReset tells whether this run reset a host that left, or tried to.
func (c *Cluster) wasReset(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resets[name]
}

// resetLeaver takes naru off a host that is out of the cluster. A host that cannot be
// reset is written down and warned of: the cluster goes on without it. One that is not the
// cluster's any more, as it was reset by hand and maybe put into another, is left as it is.
func (c *Cluster) resetLeaver(ctx context.Context, l leaver) error {
	c.mu.Lock()
	if c.resets == nil {
		c.resets = map[string]bool{}
	}
	c.resets[l.name] = true
	c.mu.Unlock()
	// Before it is tried, so that a run that is cut off in the middle leaves it.
	if err := c.writeOwed(ctx, l); err != nil {
		return err
	}
	rctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	ours, err := c.stillOurs(rctx, l)
	if err == nil && !ours {
		c.Progress.Note(fmt.Sprintf("warning: %s: it has not the mark of this cluster any more, and was left as it is", l.name))
		return c.dropOwed(ctx, l.name)
	}
	if err == nil {
		c.Progress.Note(l.name + ": reset")
		var kept []string
		kept, err = l.host.Reset(rctx)
		c.noteKept(l.name, kept)
	}
	if err != nil {
		c.Progress.Note(fmt.Sprintf("warning: %s: it was not reset, which each apply tries again: %v", l.name, shortly(err)))
		return nil
	}
	return c.dropOwed(ctx, l.name)
}

// writeOwed keeps the site file that says how to reach a host that is to be reset.
func (c *Cluster) writeOwed(ctx context.Context, l leaver) error {
	if len(l.site) == 0 {
		return nil
	}
	f := []bootstrap.File{{Path: owedPath(l.name), Mode: "0600", Content: l.site}}
	for _, h := range c.controlPlanes() {
		if _, err := h.Ensure(ctx, f); err != nil {
			return fmt.Errorf("writing down that %q is to be reset: %w", l.name, err)
		}
	}
	return nil
}

func (c *Cluster) dropOwed(ctx context.Context, name string) error {
	for _, h := range c.controlPlanes() {
		if err := h.Do(ctx, "rm", "-f", owedPath(name)); err != nil {
			return err
		}
	}
	return nil
}

// owed are the hosts that left in earlier runs and were not reset. Those that nobody
// knows how to reach are without host.
func (c *Cluster) owed(ctx context.Context) ([]leaver, error) {
	out, err := c.keeper().Script(ctx, `for f in "$1"/*.yaml; do [ -e "$f" ] && echo "${f##*/}"; done; exit 0`, owedDir)
	if err != nil {
		return nil, err
	}
	var list []leaver
	for _, file := range strings.Fields(out) {
		name := strings.TrimSuffix(file, ".yaml")
		if c.wasReset(name) {
			continue // by this run, in vain
		}
		data, err := c.keeper().ReadFile(ctx, owedPath(name))
		if err != nil {
			return nil, err
		}
		l := leaver{name: name, site: data}
		if site, err := manifest.DecodeSite(file, data); err == nil && site.Host(name) != nil {
			h := site.Host(name)
			l.address, l.host = h.Address, c.formerHost(site, h)
		}
		list = append(list, l)
	}
	return list, nil
}

// owedNow are those of the owed hosts with which something can be done now: those that
// answer, of which the first result has the ones to be reset, and the second those that
// are not the cluster's any more. Of the others a warning tells.
func (c *Cluster) owedNow(ctx context.Context) (ours, others []leaver, err error) {
	list, err := c.owed(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range list {
		answer, cancel := context.WithTimeout(ctx, owedAnswer)
		is, err := c.stillOurs(answer, l)
		cancel()
		switch {
		case ctx.Err() != nil:
			closeAll(list)
			return nil, nil, context.Cause(ctx)
		case err != nil:
			closeAll([]leaver{l})
			c.Progress.Note(fmt.Sprintf("warning: %s: it left the site and was never reset, and does not answer, which apply waits for; if it is gone for good, remove %s on the control planes: %v", l.name, owedPath(l.name), shortly(err)))
		case is:
			ours = append(ours, l)
		default:
			others = append(others, l)
		}
	}
	return ours, others, nil
}

// errNoWay says that nobody knows how to reach a host.
var errNoWay = errors.New("nobody knows how to reach it")

// stillOurs tells whether a host that left has the mark of this cluster. One that
// was reset by hand has none, and its address may be another machine's by now. It may be
// a node of another cluster of the same name, which has another authority.
func (c *Cluster) stillOurs(ctx context.Context, l leaver) (bool, error) {
	if c.Site.Host(l.name) != nil || hostAt(c.Site, l.address) != nil {
		return false, nil // it, or another one in its place, is in the site
	}
	if l.host == nil {
		return false, errNoWay
	}
	authority, err := kubeCA(ctx, c.keeper())
	if err != nil {
		return false, err
	}
	whose, _, err := c.ownerOf(ctx, l.host, authority)
	return whose == ownerSite, err
}

// resetOwed resets the owed hosts that answer, and forgets those that are not the
// cluster's any more.
func (c *Cluster) resetOwed(ctx context.Context) error {
	ours, others, err := c.owedNow(ctx)
	if err != nil {
		return err
	}
	defer closeAll(ours)
	defer closeAll(others)
	for _, l := range others {
		if err := c.dropOwed(ctx, l.name); err != nil {
			return err
		}
	}
	for _, l := range ours {
		if err := c.resetLeaver(ctx, l); err != nil {
			return err
		}
	}
	return nil
}
