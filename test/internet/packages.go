package internet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"naru/manifest"
	"naru/test/facts"
	"naru/test/lab/yum"
)

// packages publishes, for every distribution of the release, the packages that the
// facts name for it, in the first of its sources; the others are there and empty. All
// are signed with one key, made for this run.
func (m *maker) packages(ctx context.Context, _ []facts.Artifact) error {
	names, err := facts.Packages()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "ni") // short: gpg's agent has a socket in it
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	key, err := yum.NewKey(ctx, tmp)
	if err != nil {
		return err
	}
	defer func() { _ = key.Close() }()
	for _, id := range m.set.Distributions {
		d := m.set.Systems[id]
		for _, s := range d.Sources {
			m.out.Keyrings[s.Keyring] = key.PublicKey
		}
		list := slices.Clone(names[id])
		slices.Sort(list)
		list = slices.Compact(list)
		m.out.Packages += len(list)
		publish := m.apt
		if d.Family == manifest.FamilyRPM {
			publish = m.yum
		}
		if err := publish(ctx, key, d, list); err != nil {
			return fmt.Errorf("packages of %q: %w", id, err)
		}
	}
	return nil
}

// yum publishes an RPM distribution: one spec file gives all of its packages.
func (m *maker) yum(ctx context.Context, key *yum.Distribution, d *manifest.Distribution, names []string) error {
	work, err := os.MkdirTemp(filepath.Dir(key.Dir), "rpm")
	if err != nil {
		return err
	}
	rpms, err := key.BuildPlain(ctx, filepath.Join(work, "build"), names)
	if err != nil {
		return err
	}
	for i, s := range d.Sources {
		dir := filepath.Join(work, s.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, file := range rpms {
			if i > 0 {
				break
			}
			if err := os.Link(file, filepath.Join(dir, filepath.Base(file))); err != nil {
				return err
			}
		}
		if err := key.Index(ctx, dir, ""); err != nil {
			return err
		}
		for _, platform := range m.set.Platforms {
			arch, err := manifest.PackageArch(d.Family, platform)
			if err != nil {
				return err
			}
			if err := m.folder(dir, s.Address(arch)); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder publishes a folder below an address.
func (m *maker) folder(dir, address string) error {
	return filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		return m.publish(address+"/"+filepath.ToSlash(rel), data)
	})
}
