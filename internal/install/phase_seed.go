package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"naru/internal/phase"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/pkg/harbor"
	"naru/pkg/sign/verify"
)

// seedPhase brings the bundles of the run into Harbor.
//
// INPUTS: the bundles, verified; a Harbor that is well, with its seeding robot. OUTPUTS:
// projects and all that the bundles carry but OS packages, with signatures and the like;
// tags that cannot be moved; a comparison of every digest of the locks with what Harbor
// holds, signed with the site key, and its entry in the site's journal. Rerunning is
// safe, also after a run that was killed: what Harbor has is not sent twice. Where a
// signed comparison of these bundles came out even, Harbor still has every tag, and no
// run that was killed left replication switched off, nothing is done.
func seedPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "seed", Title: "bring the bundles into Harbor", Skip: (*Cluster).noHarbor,
		Tasks: func(c *Cluster) []phase.Task {
			return []phase.Task{{What: "bring the bundles into Harbor and compare", Interruptible: true, Deadline: noDeadline, Done: c.seeded, Do: c.seed}}
		}}
}

// seedOptions are those of this run: a robot pushes, and the administrator does what no
// robot may.
func (c *Cluster) seedOptions(ctx context.Context) (SeedOptions, error) {
	l, err := c.robotLogin(ctx, harbor.RoleSeed)
	if err != nil {
		return SeedOptions{}, err
	}
	robot, err := c.harborAs(ctx, l.User, l.Secret)
	if err != nil {
		return SeedOptions{}, err
	}
	admin, err := c.harborAdmin(ctx)
	if err != nil {
		return SeedOptions{}, err
	}
	return SeedOptions{Harbor: robot, Admin: &admin, State: c.StateDir, Progress: c.Progress}, nil
}

func (c *Cluster) seed(ctx context.Context) error {
	o, err := c.seedOptions(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOtherHarbor) {
		return fmt.Errorf("%w (the phase harbor makes it)", err)
	}
	if err != nil {
		return err
	}
	r, err := seedBundles(ctx, o, c.Set.Bundles)
	if r != nil && r.NewKey {
		c.Progress.Note("site key made: carry " + filepath.Join(c.StateDir, "site", sitekey.PublicName) + " out once")
	}
	if err != nil {
		return err
	}
	b := r.Report.Blobs
	c.Progress.Note(fmt.Sprintf("Harbor: %d blobs uploaded (%s), %d mounted, %d there already; %d tags, manifests and blobs compared; signed: %s",
		b.Uploaded, progress.Bytes(b.Bytes), b.Mounted, b.Present, r.Report.Checked, r.Path))
	return nil
}

// seeded tells whether the bundles were compared with Harbor, evenly, and it still has
// every tag; and whether replication goes on as it did. Each tag is asked of the registry:
// Harbor's own list of a project's artifacts tells of 600 tags in 0.1 s where that takes
// some seconds, and goes on listing one whose manifest the registry has lost.
func (c *Cluster) seeded(ctx context.Context) (bool, error) {
	even, err := c.compared()
	if err != nil || !even {
		return false, err
	}
	paused, err := readPaused(pausedPath(c.StateDir, c.Site.Harbor.Registry()))
	if err != nil || len(paused) > 0 {
		return false, err
	}
	o, err := c.seedOptions(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOtherHarbor) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	o.Progress = progress.Nop{}
	s := &seeding{SeedOptions: o.withDefaults(), bundles: c.Set.Bundles, result: &SeedResult{}}
	if err := s.plan(ctx); err != nil {
		return false, err
	}
	pending, err := s.result.Plan.Pending(ctx)
	return err == nil && len(pending) == 0, err
}

// compared tells whether there is a signed comparison of the run's bundles with this
// Harbor that came out even, and no later one that did not. One of chosen artifacts, or
// that left tags movable, is none of what this phase does.
func (c *Cluster) compared() (bool, error) {
	ring, err := verify.LoadKeys(filepath.Join(c.StateDir, "site", sitekey.PublicName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	paths, err := filepath.Glob(filepath.Join(c.StateDir, "reports", "seed-*.json"))
	if err != nil {
		return false, fmt.Errorf("looking for comparisons with Harbor: %w", err)
	}
	slices.Sort(paths)
	for _, p := range slices.Backward(paths) {
		r, err := readSeedReport(p, ring)
		if err != nil {
			c.Progress.Note(fmt.Sprintf("warning: %v: it counts for nothing", err))
			continue
		}
		if r.Harbor != c.harborURL() || !c.covered(r.Bundles) {
			continue
		}
		if uneven := r.err() != nil; uneven || r.whole() {
			return !uneven, nil
		}
	}
	return false, nil
}

// covered tells whether all bundles of this run are among those of a comparison.
func (c *Cluster) covered(list []digest.Digest) bool {
	for _, b := range c.Set.Bundles {
		if !slices.Contains(list, b.BundleDigest()) {
			return false
		}
	}
	return true
}

// readSeedReport reads a comparison that the site key has signed.
func readSeedReport(path string, ring *verify.Keyring) (*SeedReport, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a comparison with Harbor: %w", err)
	}
	sig, err := os.ReadFile(path + sitekey.SignatureSuffix)
	if err != nil {
		return nil, fmt.Errorf("reading a comparison with Harbor: %w", err)
	}
	if _, err := ring.VerifyFile(bytes.NewReader(data), sig); err != nil {
		return nil, fmt.Errorf("reading the comparison with Harbor %q: %w", path, err)
	}
	var r SeedReport
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading the comparison with Harbor %q: %w", path, err)
	}
	return &r, nil
}
