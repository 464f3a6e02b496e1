package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"naru/internal/intake"
	"naru/internal/phase"
	"naru/manifest"
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
	// completeName marks the folder of a bundle whose volumes are all there.
	completeName = ".complete"
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
			t = append(t, filesTask(h, "trust the site's authority", c.authorityFile, nil))
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

// bundleDir is where a bundle lies on a depot.
func (c *Cluster) bundleDir(b *intake.Bundle) string {
	return path.Join(c.Site.Depot.Dir, b.BundleDigest().Encoded()[:16])
}

// depotHas tells whether a depot holds all volumes of a bundle.
func (c *Cluster) depotHas(ctx context.Context, h *bootstrap.Host, b *intake.Bundle) (bool, error) {
	dir := c.bundleDir(b)
	args := []string{path.Join(dir, completeName), b.BundleDigest().String()}
	for _, v := range b.Volumes() {
		args = append(args, path.Join(dir, filepath.Base(v.Path)), strconv.FormatInt(v.Info.Size(), 10))
	}
	return h.Holds(ctx, `[ "$(cat "$1" 2>/dev/null)" = "$2" ] || exit 1
shift 2
while [ $# -ge 2 ]; do [ "$(stat -c %s "$1" 2>/dev/null)" = "$2" ] || exit 1; shift 2; done`, args...)
}

// room is what a depot has for the bundles of this run, in bytes.
type room struct {
	// missing has yet to be written there, free is what there is for it.
	missing, free int64
	// apart tells that depot.dir lies on another file system than /var/lib.
	apart bool
}

// roomScript prints how many bytes have yet to come below $1, whether that is apart
// from /var/lib, and how many are free there. The rest are triples of a volume's path,
// its size, and where it lies on this host ("" on another), from where it is linked
// within one file system.
const roomScript = `d=$1; n=0; apart=false; shift
while [ ! -d "$d" ]; do d=${d%/*}; [ -n "$d" ] || d=/; done
dev=$(stat -c %d "$d")
while [ $# -ge 3 ]; do
  if [ "$(stat -c %s "$1" 2>/dev/null)" != "$2" ] && { [ -z "$3" ] || [ "$(stat -c %d "$3" 2>/dev/null)" != "$dev" ]; }; then n=$((n + $2)); fi
  shift 3
done
[ "$dev" = "$(stat -c %d /var/lib)" ] || apart=true
echo "$n $apart $(df -Pk "$d" | { read -r _; read -r _ _ _ f _; echo "$f"; })"`

func (c *Cluster) depotRoom(ctx context.Context, h *bootstrap.Host) (room, error) {
	args := []string{c.Site.Depot.Dir}
	for _, b := range c.Set.Bundles {
		for _, v := range b.Volumes() {
			from := ""
			if h.Local {
				abs, err := filepath.Abs(v.Path)
				if err != nil {
					return room{}, fmt.Errorf("finding a volume: %w", err)
				}
				from = abs
			}
			args = append(args, path.Join(c.bundleDir(b), filepath.Base(v.Path)), strconv.FormatInt(v.Info.Size(), 10), from)
		}
	}
	out, err := h.Script(ctx, roomScript, args...)
	if err != nil {
		return room{}, err
	}
	var r room
	if _, err := fmt.Sscan(out, &r.missing, &r.apart, &r.free); err != nil {
		return room{}, fmt.Errorf("%s: looking at the room for bundles: %w", h.Name, err)
	}
	r.free <<= 10
	return r, nil
}

// carryTask brings one bundle to a depot.
func (c *Cluster) carryTask(h *bootstrap.Host, b *intake.Bundle) phase.Task {
	return phase.Task{
		What: "carry bundle " + b.BundleDigest().Encoded()[:12], Deadline: noDeadline, Interruptible: true,
		Done: func(ctx context.Context) (bool, error) { return c.depotHas(ctx, h, b) },
		Do: func(ctx context.Context) error {
			dir := c.bundleDir(b)
			for _, v := range b.Volumes() {
				if err := c.carryVolume(ctx, h, v.Path, path.Join(dir, filepath.Base(v.Path)), v.Info.Size()); err != nil {
					return err
				}
			}
			return h.Put(ctx, bootstrap.File{Path: path.Join(dir, completeName), Mode: "0644", Content: []byte(b.BundleDigest().String() + "\n")})
		},
	}
}

// carryVolume copies one volume, or links it where it lies on the host already.
func (c *Cluster) carryVolume(ctx context.Context, h *bootstrap.Host, from, to string, size int64) error {
	if there, err := h.Holds(ctx, `[ "$(stat -c %s "$1" 2>/dev/null)" = "$2" ]`, to, strconv.FormatInt(size, 10)); err != nil || there {
		return err // Put leaves a file whole or not at all
	}
	if h.Local {
		abs, err := filepath.Abs(from)
		if err != nil {
			return fmt.Errorf("finding a volume: %w", err)
		}
		if linked, err := h.Holds(ctx, `mkdir -p "${2%/*}" && ln -f "$1" "$2"`, abs, to); err != nil || linked {
			return err
		}
	}
	sum, err := fileSum(from)
	if err != nil {
		return err
	}
	return h.Put(ctx, bootstrap.File{Path: to, Mode: "0644", SHA256: sum, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(from) }})
}

// fileSum is the SHA-256 of a file on this machine, hex.
func fileSum(path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("reading %q: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// depotStale marks a depot that runs with older keys, flags or program than are there.
// It is set before any is written, and gone after a restart or a reboot.
const depotStale = "/run/naru/depot.stale"

// serveTask runs the service that serves the bundles.
func (c *Cluster) serveTask(h *bootstrap.Host) phase.Task {
	names := c.depotNames(h)
	needed := func(ctx context.Context) ([]bootstrap.File, error) {
		accepts, err := c.acceptedBefore(ctx, h)
		if err != nil {
			return nil, err
		}
		files, err := c.depotFiles(accepts)
		if err != nil {
			return nil, err
		}
		changed, err := h.Differ(ctx, files)
		if err != nil {
			return nil, err
		}
		cert, err := h.ReadFile(ctx, depotCert)
		if err != nil || !c.ca().Fits(cert, names) {
			pair, err := c.depotPair(names)
			if err != nil {
				return nil, err
			}
			changed = append(changed, pair...)
		}
		return changed, nil
	}
	return phase.Task{
		What: "serve at " + net.JoinHostPort(h.Address, strconv.Itoa(c.Site.Depot.Port)),
		Done: func(ctx context.Context) (bool, error) {
			if c.ca() == nil {
				return false, nil
			}
			changed, err := needed(ctx)
			if err != nil || len(changed) > 0 {
				return false, err
			}
			if up, err := h.UnitHolds(ctx, depotUnit); err != nil || !up {
				return false, err
			}
			if stale, err := h.Holds(ctx, `[ -e "$1" ]`, depotStale); err != nil || stale {
				return false, err
			}
			return c.depotServes(ctx, h)
		},
		Do: func(ctx context.Context) error {
			changed, err := needed(ctx)
			if err != nil {
				return err
			}
			if err := startDepot(ctx, h, changed); err != nil {
				return err
			}
			return c.waitDepot(ctx, h)
		},
		Deadline: noDeadline, Interruptible: true, // it verifies what it got before it answers
	}
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

// NotServedError is a depot that serves, and left out a bundle that it was given:
// nobody it trusts signed that, its key was revoked there, or its volumes are damaged.
type NotServedError struct{ Host, Bundle string }

func (e *NotServedError) Error() string {
	return fmt.Sprintf("%s: the depot serves, but for bundle %s", e.Host, e.Bundle)
}

// waitDepot waits until a depot that was just started serves. It may have to verify what
// it got first, which has no bound but the disk's speed; a service that ends again and
// again is given up, and so is one that answers without a bundle: it answers when
// it has looked at all of them.
func (c *Cluster) waitDepot(ctx context.Context, h *bootstrap.Host) error {
	err := poll(ctx, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		lacks, up, err := c.depotLacks(ctx, h)
		if err != nil {
			return false, err
		}
		if up && lacks != "" {
			return false, &NotServedError{Host: h.Name, Bundle: lacks}
		}
		if up {
			return true, nil
		}
		out, err := h.Output(ctx, "systemctl", "show", "-p", "NRestarts", "--value", depotUnit)
		if n, _ := strconv.Atoi(out); n >= depotRestarts {
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
func (c *Cluster) depotFiles(before accepts) ([]bootstrap.File, error) {
	sum, err := fileSum(c.Program)
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

// depotClient speaks to a host's depot through the host's own connection.
func (c *Cluster) depotClient(h *bootstrap.Host) (*http.Client, error) {
	f, ok := h.Runner.(bootstrap.Forwarder)
	if !ok {
		return nil, errors.New("the host's connection cannot carry others")
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext:     f.Dial,
		TLSClientConfig: c.tlsConfig(),
	}}, nil
}

// depotServes tells whether the depot answers with every bundle of this run.
func (c *Cluster) depotServes(ctx context.Context, h *bootstrap.Host) (bool, error) {
	lacks, up, err := c.depotLacks(ctx, h)
	return up && lacks == "", err
}

// depotLacks tells whether the depot answers, and the first bundle of this run that it
// does not serve then, or "".
func (c *Cluster) depotLacks(ctx context.Context, h *bootstrap.Host) (lacks string, up bool, err error) {
	client, err := c.depotClient(h)
	if err != nil {
		return "", false, err
	}
	defer client.CloseIdleConnections()
	url := "https://" + manifest.Endpoint{Host: bracket(h.Address), Port: c.Site.Depot.Port}.String() + "/bundles"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", false, fmt.Errorf("asking the depot: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", false, nil //nolint:nilerr // not there, or not yet
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", false, nil //nolint:nilerr // likewise
	}
	for _, b := range c.Set.Bundles {
		if !strings.Contains(string(data), b.BundleDigest().String()) {
			return b.BundleDigest().String(), true, nil
		}
	}
	return "", true, nil
}
