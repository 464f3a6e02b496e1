package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/Masterminds/semver/v3"
	"github.com/ProtonMail/go-crypto/openpgp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/provenance"
)

// maxPackage bounds a packaged chart and its provenance, in bytes.
const maxPackage = 64 << 20

// ProvenanceError says that the provenance of a chart is missing or does not
// verify with the keyring that its component names.
type ProvenanceError struct {
	Name, Version, Keyring string
	Err                    error
}

func (e *ProvenanceError) Error() string {
	return fmt.Sprintf("verifying the provenance of chart %q %s with keyring %q: %v", e.Name, e.Version, e.Keyring, e.Err)
}

func (e *ProvenanceError) Unwrap() error { return e.Err }

// errNoProvenance says that upstream has no provenance file.
var errNoProvenance = errors.New("upstream has no .prov file")

// check loads the package of c from the store and says what is wrong with it.
func (f *Fetcher) check(ctx context.Context, c *Chart) (*chart.Metadata, error) {
	data, err := f.read(ctx, c.Digest, maxPackage)
	if err != nil {
		return nil, fmt.Errorf("reading the package: %w", err)
	}
	if c.Keyring != "" {
		if err := f.verify(ctx, c, data); err != nil {
			return nil, &ProvenanceError{Name: c.Name, Version: c.Version, Keyring: c.Keyring, Err: err}
		}
	}
	ch, err := loader.LoadArchive(bytes.NewReader(data))
	if err == nil {
		err = ch.Validate()
	}
	if err != nil {
		return nil, &MetadataError{c.Name, c.Version, err.Error()}
	}
	if ch.Name() != c.Name || ch.Metadata.Version != c.Version {
		return nil, &MetadataError{c.Name, c.Version, fmt.Sprintf("the package says that it is %q %s", ch.Name(), ch.Metadata.Version)}
	}
	if missing := missingDependency(ch); missing != "" {
		return nil, &MetadataError{c.Name, c.Version, missing}
	}
	return ch.Metadata, nil
}

// missingDependency says which sub-chart of ch, at any depth, is not inside it; ""
// when all are.
func missingDependency(ch *chart.Chart) string {
	for _, want := range ch.Metadata.Dependencies {
		if want != nil && !provides(ch, want) {
			return fmt.Sprintf("its sub-chart %q %s is not inside the package: package it with helm dependency update", want.Name, want.Version)
		}
	}
	for _, sub := range ch.Dependencies() {
		if missing := missingDependency(sub); missing != "" {
			return missing
		}
	}
	return ""
}

// provides tells whether a sub-chart that is inside satisfies a dependency.
func provides(ch *chart.Chart, want *chart.Dependency) bool {
	constraint, cerr := semver.NewConstraint(want.Version)
	for _, have := range ch.Dependencies() {
		if have.Name() != want.Name {
			continue
		}
		v, err := semver.NewVersion(have.Metadata.Version)
		if cerr != nil || err != nil || constraint.Check(v) || have.Metadata.Version == want.Version {
			return true
		}
	}
	return false
}

// verify checks the provenance of the package data with the named keyring. Helm
// reads both from files.
func (f *Fetcher) verify(ctx context.Context, c *Chart, data []byte) error {
	if c.Provenance == "" {
		return errNoProvenance
	}
	prov, err := f.read(ctx, c.Provenance, maxPackage)
	if err != nil {
		return err
	}
	ring, err := f.keyring(c.Keyring)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "naru-chart-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, c.packageName())
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return fmt.Errorf("writing the package: %w", err)
	}
	if err := os.WriteFile(file+".prov", prov, 0o600); err != nil {
		return fmt.Errorf("writing the provenance: %w", err)
	}
	signatory := provenance.Signatory{KeyRing: ring}
	_, err = signatory.Verify(file, file+".prov")
	return err
}

// packageName is the file name that the provenance of c speaks of.
func (c *Chart) packageName() string {
	if name := path.Base(c.Source); !c.OCI() && path.Ext(name) == ".tgz" {
		return name
	}
	return c.Name + "-" + c.Version + ".tgz"
}

func (f *Fetcher) keyring(name string) (openpgp.EntityList, error) {
	data, err := f.opts.Keyring(name)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(data))
}
