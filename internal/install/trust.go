package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/pkg/bootstrap"
	"naru/pkg/sign/verify"
)

// What a depot may have been told to take: flags of its unit.
const (
	flagUnverified = "--insecure-skip-verify"
	flagUnscanned  = "--allow-unscanned"
)

// accepts is what a depot takes beside what is signed and scanned.
type accepts struct{ unverified, unscanned bool }

// acceptedBefore is what a depot was told to take by an earlier run and has to go on
// taking: the flags of its unit, as long as it holds other bundles than those of this
// run. Without them it would end, or leave out, what somebody answered for.
func (c *Cluster) acceptedBefore(ctx context.Context, h *bootstrap.Host) (accepts, error) {
	unit, err := h.ReadFile(ctx, depotUnitPath)
	if errors.Is(err, fs.ErrNotExist) {
		return accepts{}, nil
	}
	if err != nil {
		return accepts{}, err
	}
	words := strings.Fields(string(unit))
	a := accepts{unverified: slices.Contains(words, flagUnverified), unscanned: slices.Contains(words, flagUnscanned)}
	if a == (accepts{}) {
		return a, nil
	}
	have, err := h.Script(ctx, `for m in "$1"/*/.complete; do [ -e "$m" ] && cat "$m"; done; exit 0`, c.Site.Depot.Dir)
	if err != nil {
		return accepts{}, err
	}
	for _, digest := range strings.Fields(have) {
		if !slices.ContainsFunc(c.Set.Bundles, func(b *intake.Bundle) bool { return b.BundleDigest().String() == digest }) {
			return a, nil
		}
	}
	return accepts{}, nil
}

// trustedKeys are the public keys that the bundles were opened with, and those of the
// trust folder that are revoked: a depot refuses these as well. What is no key is an
// error here: a depot that finds it among its keys does not start.
func (c *Cluster) trustedKeys() ([]bootstrap.File, error) {
	if _, err := verify.LoadKeys(c.Intake.Keys...); err != nil {
		return nil, err
	}
	if c.Intake.TrustDir != "" {
		if _, err := verify.LoadTrustDir(c.Intake.TrustDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	trusted := slices.Clone(c.Intake.Keys)
	var revoked []string
	if c.Intake.TrustDir != "" {
		in, err := visibleFiles(c.Intake.TrustDir)
		if err != nil {
			return nil, err
		}
		for _, p := range in {
			if strings.HasSuffix(p, ".pub") {
				trusted = append(trusted, p)
			}
		}
		if revoked, err = visibleFiles(filepath.Join(c.Intake.TrustDir, revokedName)); err != nil {
			return nil, err
		}
	}
	files, err := keyFiles(trusted, trustPath)
	if err != nil {
		return nil, err
	}
	more, err := keyFiles(revoked, path.Join(trustPath, revokedName))
	return append(files, more...), err
}

// revokedName is the subfolder of a trust folder with the keys that are revoked.
const revokedName = "revoked"

// visibleFiles are the files of a folder whose names do not begin with a dot; none
// where it does not exist.
func visibleFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the trust folder: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// keyFiles are keys as files of a depot, named by their content.
func keyFiles(paths []string, dir string) ([]bootstrap.File, error) {
	var out []bootstrap.File
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("reading a key of the trust folder: %w", err)
		}
		sum := sha256.Sum256(data)
		out = append(out, bootstrap.File{Path: path.Join(dir, hex.EncodeToString(sum[:8])+".pub"), Mode: "0644", Content: data})
	}
	return out, nil
}

// CarryTrust brings the keys of a trust folder to the depots, those revoked as well,
// and restarts the depots that got any: they leave out what such a key signed. It
// needs no bundle, as the only one there is may be what the revoked key signed. It
// returns the depots that were changed, also with an error. No key at all is
// intake.ErrNoTrust.
func CarryTrust(ctx context.Context, siteFile string, in intake.Options, p progress.Observer) ([]string, error) {
	c, err := openSite(siteFile)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.Intake, c.Progress = in, p
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	defer c.Unlock()
	return c.carryTrust(ctx)
}

// carryTrust goes on where a depot fails: it may be down for good, and the others serve
// what the revoked key signed.
func (c *Cluster) carryTrust(ctx context.Context) ([]string, error) {
	keys, err := c.trustedKeys()
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("carrying keys to the depots: %w", intake.ErrNoTrust)
	}
	var out []string
	var errs []error
	for _, h := range c.depots() {
		changed, err := c.carryKeys(ctx, h, keys)
		if err != nil {
			errs = append(errs, fmt.Errorf("carrying keys to %q: %w", h.Name, err))
			continue
		}
		if changed {
			c.Progress.Note(line(h.Name, "got keys, and was started again"))
			out = append(out, h.Name)
		}
	}
	return out, errors.Join(errs...)
}

// carryKeys brings keys to one depot and restarts it when it did not know them all.
func (c *Cluster) carryKeys(ctx context.Context, h *bootstrap.Host, keys []bootstrap.File) (bool, error) {
	differ, err := h.Differ(ctx, keys)
	if err != nil {
		return false, err
	}
	stale, err := isStale(ctx, h, depotStale)
	if err != nil || len(differ) == 0 && !stale {
		return false, err
	}
	return true, startDepot(ctx, h, differ)
}
