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
	"time"

	"naru/internal/intake"
	"naru/pkg/archive"
	"naru/pkg/bootstrap"
)

// CarriedBundles are the folders below dir that hold a whole bundle each, the
// oldest first, so that the newest is served where they differ.
func CarriedBundles(dir string) ([]string, error) {
	marks, err := filepath.Glob(filepath.Join(dir, "*", completeName))
	if err != nil {
		return nil, fmt.Errorf("listing the bundles of the depot: %w", err)
	}
	type found struct {
		dir string
		at  time.Time
	}
	var list []found
	for _, m := range marks {
		info, err := os.Stat(m)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("listing the bundles of the depot: %w", err)
		}
		list = append(list, found{filepath.Dir(m), info.ModTime()})
	}
	slices.SortFunc(list, func(a, b found) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.dir, b.dir)
	})
	var out []string
	for _, f := range list {
		out = append(out, f.dir)
	}
	return out, nil
}

// DepotBundle is a bundle on a depot.
type DepotBundle struct {
	Host   string `json:"host"`
	Bundle string `json:"bundle"`
	Dir    string `json:"dir"`
	Bytes  int64  `json:"bytes"`
	// Carried is when its last volume arrived, RFC 3339.
	Carried string `json:"carried"`
	// NotServed is why the depot does not serve it, "" where it does or nobody was asked.
	NotServed string `json:"notServed,omitempty"`
}

// ListBundles lists what the depots of a site hold, and what of it they do not serve.
func ListBundles(ctx context.Context, siteFile string) ([]DepotBundle, error) {
	c, err := openSite(siteFile)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	list, err := c.listBundles(ctx)
	if err != nil {
		return nil, err
	}
	return list, c.tellServed(ctx, list)
}

// listBundles lists what the depots hold; with an error, what the others do.
func (c *Cluster) listBundles(ctx context.Context) ([]DepotBundle, error) {
	var out []DepotBundle
	var errs []error
	for _, h := range c.depots() {
		text, err := h.Script(ctx, `for m in "$1"/*/.complete; do
  [ -e "$m" ] || continue
  d=${m%/*}
  printf '%s %s %s %s\n' "$(cat "$m")" "$d" "$(du -sb "$d" | cut -f1)" "$(date -u -r "$m" +%Y-%m-%dT%H:%M:%SZ)"
done`, c.Site.Depot.Dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, line := range strings.Split(text, "\n") {
			f := strings.Fields(line)
			if len(f) != 4 {
				continue
			}
			b := DepotBundle{Host: h.Name, Bundle: f[0], Dir: f[1], Carried: f[3]}
			if _, err := fmt.Sscan(f[2], &b.Bytes); err != nil {
				return nil, fmt.Errorf("%s: reading the size of a bundle: %w", h.Name, err)
			}
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, func(a, b DepotBundle) int {
		if a.Host != b.Host {
			return strings.Compare(a.Host, b.Host)
		}
		return strings.Compare(a.Carried, b.Carried)
	})
	return out, errors.Join(errs...)
}

// AddBundles carries bundles to the depots of a site that exists, and serves them,
// without installing anything.
func AddBundles(ctx context.Context, o ApplyOptions) ([]DepotBundle, error) {
	c, closeAll, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	// A depot refuses to serve what was never scanned: one such bundle would take it down.
	if err := intake.CheckAllScanned(c.Set.Bundles, c.Site.AllowUnscanned); err != nil {
		return nil, err
	}
	for _, b := range c.Set.Bundles {
		o.Progress.Start("verify", 0)
		if _, err := intake.Register(ctx, b, c.RecordDir, archive.VerifyOptions{Progress: o.Progress.Add}); err != nil {
			return nil, err
		}
	}
	if holds, err := c.authorityHolds(ctx); err != nil || !holds {
		return nil, errors.Join(err, notHolding(holds))
	}
	if err := c.lock(ctx); err != nil { // closeAll unlocks
		return nil, err
	}
	o.Progress.Start("carry", 0)
	for _, h := range c.depots() {
		for _, b := range c.Set.Bundles {
			t := c.carryTask(h, b)
			if has, err := t.Done(ctx); err != nil {
				return nil, err
			} else if !has {
				if err := t.Do(ctx); err != nil {
					return nil, err
				}
			}
		}
		if err := c.serveTask(h).Do(ctx); err != nil {
			return nil, err
		}
	}
	return c.listBundles(ctx)
}

// ErrNotApplied is returned where a site was expected and apply has not been there yet.
var ErrNotApplied = errors.New("looking for the site: apply has not been run on its first control plane")

func notHolding(holds bool) error {
	if holds {
		return nil
	}
	return ErrNotApplied
}

// InUseError is a bundle that cannot go: it is the newest, or was applied last.
type InUseError struct{ Host, Bundle string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s: removing bundle %s: the cluster runs from it, or it is the newest", e.Host, e.Bundle)
}

// appliedPath is where the first control plane keeps the digests of the bundles that
// were applied last, one a line.
const appliedPath = bootstrap.StateDir + "/applied"

// PruneBundles removes bundles from the depots of a site, named by the beginning of
// their digest; without names, all but those applied last and the newest on each
// depot. It returns what was removed.
func PruneBundles(ctx context.Context, siteFile string, names []string) ([]DepotBundle, error) {
	c, err := openSite(siteFile)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	defer c.Unlock()
	all, err := c.listBundles(ctx)
	if err != nil {
		return nil, err
	}
	applied, err := c.keeper().ReadFile(ctx, appliedPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	gone, err := prunable(all, names, strings.Fields(string(applied)))
	if err != nil {
		return nil, err
	}
	for _, b := range gone {
		h := c.host(b.Host)
		// The mark goes first: what is left after a crash is no bundle.
		if _, err := h.Script(ctx, `rm -f "$1/.complete"; rm -rf -- "$1"; systemctl restart naru-depot.service`, b.Dir); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// prunable are those of all, the newest of a depot last, that may go.
func prunable(all []DepotBundle, names, applied []string) ([]DepotBundle, error) {
	newest := map[string]string{}
	for _, b := range all {
		newest[b.Host] = b.Bundle
	}
	var gone []DepotBundle
	for _, b := range all {
		named := slices.ContainsFunc(names, func(n string) bool {
			return n != "" && strings.HasPrefix(strings.TrimPrefix(b.Bundle, "sha256:"), strings.TrimPrefix(n, "sha256:"))
		})
		used := newest[b.Host] == b.Bundle || slices.Contains(applied, b.Bundle)
		switch {
		case named && used:
			return nil, &InUseError{Host: b.Host, Bundle: b.Bundle}
		case named, len(names) == 0 && !used:
			gone = append(gone, b)
		}
	}
	return gone, nil
}

func (c *Cluster) host(name string) *bootstrap.Host {
	for _, h := range c.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// openSite makes the state of a site without a bundle.
func openSite(siteFile string) (*Cluster, error) {
	site, err := LoadSite(siteFile)
	if err != nil {
		return nil, err
	}
	return NewCluster(site, nil)
}
