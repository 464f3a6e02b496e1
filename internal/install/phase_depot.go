package install

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// Where things lie on a depot.
const (
	programPath = "/usr/local/lib/naru/install"
	trustPath   = "/etc/naru/trust"
	depotCert   = "/etc/naru/depot/tls.crt"
	depotKey    = "/etc/naru/depot/tls.key"
	depotUnit   = "naru-depot.service"
	// depotUnitPath is the unit's file.
	depotUnitPath = "/etc/systemd/system/" + depotUnit
)

// noDeadline is for what takes as long as media are slow.
const noDeadline = 24 * time.Hour

// depotPhase carries the bundles to the depots and serves them there.
//
// INPUTS: the volumes, verified; the installer's own program; the keys that are
// trusted; the site's authority, made now if there is none. OUTPUTS: the program,
// volumes and trusted keys on each depot, a certificate, and naru-depot.service,
// which comes back after a reboot; on every host the site's authority, which the
// depot is known by. Rerunning is safe: every file is compared first
// and written whole; a folder of volumes counts once its mark says it is complete.
func depotPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "depot", Title: "serve the bundles inside the site", Tasks: func(c *Cluster) []phase.Task {
		depots := c.depots()
		// The host that makes the authority goes first: however few are worked on at a
		// time, those that wait for it do not keep it from its turn.
		hosts := slices.DeleteFunc(slices.Clone(c.Hosts), func(h *bootstrap.Host) bool { return h == depots[0] })
		return each(slices.Insert(hosts, 0, depots[0]), func(h *bootstrap.Host) []phase.Task {
			var t []phase.Task
			if h.Name == depots[0].Name {
				t = append(t, phase.Task{What: "keep the site's certificate authority", Done: c.authorityHolds, Do: c.keepAuthority})
			} else {
				t = append(t, phase.Task{What: "wait for the site's certificate authority", Quiet: true, Interruptible: true, Deadline: time.Minute, Do: c.waitAuthority})
			}
			t = append(t, filesTask(h, "trust the site's authority", c.authorityFile))
			if !slices.Contains(depots, h) {
				return t
			}
			for _, b := range c.Set.Bundles {
				t = append(t, c.carryTask(h, b))
			}
			return append(t, c.serveTask(h))
		})
	}}
}

// authorityFile is the site's authority as every host keeps it.
func (c *Cluster) authorityFile() []bootstrap.File {
	if a := c.ca(); a != nil {
		return []bootstrap.File{{Path: bootstrap.CAFile, Mode: "0644", Content: a.PEM}}
	}
	return nil
}

// depotStale marks a depot that runs with older keys, flags or program than are there.
// It is set before any is written, and gone after a restart or a reboot.
const depotStale = "/run/naru/depot.stale"

// serveTask runs the service that serves the bundles.
func (c *Cluster) serveTask(h *bootstrap.Host) phase.Task {
	d := &depotService{c: c, h: h, names: c.depotNames(h)}
	return phase.Task{
		What: "serve at " + net.JoinHostPort(h.Address, strconv.Itoa(c.Site.Depot.Port)),
		Done: d.done, Do: d.do,
		Deadline: noDeadline, Interruptible: true, // it verifies what it got before it answers
	}
}

// depotService is the service of one depot.
type depotService struct {
	c      *Cluster
	h      *bootstrap.Host
	names  []string // of its certificate
	warned sync.Once
}

// needed are the files that the depot lacks, or has otherwise.
func (d *depotService) needed(ctx context.Context) ([]bootstrap.File, error) {
	accepts, err := d.c.acceptedBefore(ctx, d.h)
	if err != nil {
		return nil, err
	}
	if accepts.unverified && !d.c.Intake.SkipVerify {
		d.warned.Do(func() {
			d.c.Progress.Note("warning: " + d.h.Name + ": the depot goes on taking bundles whoever signed them, or nobody, but for revoked keys, since it holds one that was carried with " +
				flagUnverified + "; install bundles prune removes it, and apply ends it then")
		})
	}
	files, err := d.c.depotFiles(ctx, accepts)
	if err != nil {
		return nil, err
	}
	changed, err := d.h.Differ(ctx, files)
	if err != nil {
		return nil, err
	}
	cert, err := d.h.ReadFile(ctx, depotCert)
	if err != nil || !d.c.ca().Fits(cert, d.names) {
		pair, err := d.c.depotPair(d.names)
		if err != nil {
			return nil, err
		}
		changed = append(changed, pair...)
	}
	return changed, nil
}

func (d *depotService) done(ctx context.Context) (bool, error) {
	if d.c.ca() == nil {
		return false, nil
	}
	changed, err := d.needed(ctx)
	if err != nil || len(changed) > 0 {
		return false, err
	}
	if up, err := d.h.UnitHolds(ctx, depotUnit); err != nil || !up {
		return false, err
	}
	if stale, err := isStale(ctx, d.h, depotStale); err != nil || stale {
		return false, err
	}
	state, err := d.c.askDepot(ctx, d.h)
	if err != nil || state == nil || state.lacks(d.h.Name, d.c.Set.Bundles) != nil {
		return false, err
	}
	d.c.noteRefused(d.h, state)
	return true, nil
}

func (d *depotService) do(ctx context.Context) error {
	changed, err := d.needed(ctx)
	if err != nil {
		return err
	}
	if err := startDepot(ctx, d.h, changed); err != nil {
		return err
	}
	return d.c.waitDepot(ctx, d.h)
}

// startDepot writes files of a depot and starts it anew.
func startDepot(ctx context.Context, h *bootstrap.Host, files []bootstrap.File) error {
	if err := markStale(ctx, h, depotStale); err != nil {
		return err
	}
	for _, f := range files {
		if err := h.Put(ctx, f); err != nil {
			return err
		}
	}
	if err := h.Unit(ctx, depotUnit, true); err != nil {
		return err
	}
	return h.Do(ctx, "rm", "-f", depotStale)
}

// depotRestarts is how often the service may end before it is given up.
const depotRestarts = 3

// waitDepot waits until a depot that was just started serves. It may have to verify what
// it got first, which has no bound but the disk's speed; a service that ends again and
// again is given up, and so is one that answers without a bundle: it answers when
// it has looked at all of them.
func (c *Cluster) waitDepot(ctx context.Context, h *bootstrap.Host) error {
	before := -1 // how often it had ended when it was started, which systemd goes on counting
	err := poll(ctx, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		state, err := c.askDepot(ctx, h)
		if err != nil {
			return false, err
		}
		if state != nil {
			c.noteRefused(h, state)
			return true, state.lacks(h.Name, c.Set.Bundles)
		}
		out, err := h.Output(ctx, "systemctl", "show", "-p", "NRestarts", "--value", depotUnit)
		n, _ := strconv.Atoi(out)
		if before < 0 || n < before {
			before = n
		}
		if n -= before; n >= depotRestarts {
			return false, fmt.Errorf("the service ended %d times", n)
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the depot to answer: %w\n%s", err, h.Journal(ctx, depotUnit))
	}
	return nil
}

// depotNames are the names of a depot's certificate: with a balancer, nodes come
// through that.
func (c *Cluster) depotNames(h *bootstrap.Host) []string {
	names := []string{h.Address, "depot." + c.Site.Domain, "localhost", "127.0.0.1"}
	if len(c.Site.Balancers()) > 0 && c.frontAddress() != h.Address {
		names = append(names, c.frontAddress())
	}
	return names
}

// depotFiles are those of the service that do not differ from run to run.
func (c *Cluster) depotFiles(ctx context.Context, before accepts) ([]bootstrap.File, error) {
	sum, err := fileSum(ctx, c.Program)
	if err != nil {
		return nil, err
	}
	files := []bootstrap.File{
		{Path: programPath, Mode: "0755", SHA256: sum, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(c.Program) }},
		{Path: depotUnitPath, Mode: "0644", Content: c.depotUnit(before)},
	}
	keys, err := c.trustedKeys()
	return append(files, keys...), err
}

func (c *Cluster) depotPair(names []string) ([]bootstrap.File, error) {
	cert, key, err := c.ca().Issue("naru depot", names)
	if err != nil {
		return nil, err
	}
	return []bootstrap.File{{Path: depotKey, Mode: "0600", Content: key}, {Path: depotCert, Mode: "0644", Content: cert}}, nil
}

func (c *Cluster) depotUnit(before accepts) []byte {
	verify := "--trust-dir " + trustPath
	if c.Intake.SkipVerify || before.unverified {
		verify += " " + flagUnverified
	}
	if c.Site.AllowUnscanned || before.unscanned {
		verify += " " + flagUnscanned
	}
	return fmt.Appendf(nil, `# Written by naru.
[Unit]
Description=naru depot: the bundles of the site
After=network-online.target local-fs.target
Wants=network-online.target

[Service]
ExecStart=%s serve --bundles %s --listen :%d --register --tls-cert %s --tls-key %s %s --progress none
Restart=always
RestartSec=3
ProtectSystem=strict
ReadWritePaths=/var/lib/naru
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
`, programPath, c.Site.Depot.Dir, c.Site.Depot.Port, depotCert, depotKey, verify)
}
