package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/errdef"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/packages"
)

// Resolver implements packages.Resolver for Debian and its kin.
type Resolver struct{}

// metadata is what the sources of a request say.
type metadata struct {
	locked   []manifest.LockedPackageSource
	releases []*Release
	universe *universe
}

// Resolve implements packages.Resolver.
func (Resolver) Resolve(ctx context.Context, files packages.Files, req packages.Request) (*manifest.LockedPackages, error) {
	m, err := read(ctx, files, req, nil)
	if err != nil {
		return nil, err
	}
	chosen, unmet := closure(m.universe, req.Roots)
	if len(unmet) > 0 {
		return nil, &packages.UnmetError{Distribution: req.Distribution.ID, Platform: req.Platform, List: unmet}
	}
	out := &manifest.LockedPackages{Sources: m.locked}
	for p, components := range chosen {
		for _, twin := range m.universe.twins(p) {
			out.Packages = append(out.Packages, manifest.LockedPackage{
				Name: twin.Name, Version: twin.Version, Arch: twin.Arch, Source: m.locked[twin.source].Name, Path: twin.Path,
				Digest: digest.NewDigestFromEncoded(digest.SHA256, twin.SHA256), Size: twin.Size, Components: components,
			})
		}
	}
	return out, nil
}

// ErrNotVouchedFor says that the vendor signed nothing that has a package or a
// metadata file as the lock pins it.
var ErrNotVouchedFor = errors.New("nothing signed has this file")

// Verify implements packages.Resolver: InRelease must have every metadata file, and the
// signed indexes every package, by its path, digest and size.
func (Resolver) Verify(ctx context.Context, files packages.Files, req packages.Request, locked *manifest.LockedPackages) error {
	m, err := read(ctx, files, req, locked)
	if err != nil {
		return err
	}
	errs := m.unsigned(req, locked)
	for _, want := range locked.Packages {
		found := false
		for _, have := range m.universe.byName[want.Name] {
			found = found || m.locked[have.source].Name == want.Source && have.Path == want.Path && have.Version == want.Version &&
				have.SHA256 == want.Digest.Encoded() && have.Size == want.Size
		}
		if !found {
			errs = append(errs, fmt.Errorf("verifying package %q %s of %q, %s: %w", want.Name, want.Version, req.Distribution.ID, want.Digest, ErrNotVouchedFor))
		}
	}
	return errors.Join(errs...)
}

// unsigned are errors about the metadata files of a lock: those that InRelease does
// not name, and indexes that apt asks for and the lock lacks.
func (m *metadata) unsigned(req packages.Request, locked *manifest.LockedPackages) []error {
	var errs []error
	for i, s := range m.locked {
		pinned := locked.Source(s.Name)
		for _, f := range pinned.Files {
			index, ok := m.releases[i].Files[strings.TrimPrefix(f.Path, "dists/"+s.Suite+"/")]
			vouched := ok && strings.HasPrefix(f.Path, "dists/"+s.Suite+"/") && index == IndexFile{SHA256: f.Digest.Encoded(), Size: f.Size}
			if !vouched && !slices.Contains(s.Files, f) {
				errs = append(errs, fmt.Errorf("verifying %q of source %q of %q, %s: %w", f.Path, s.Name, req.Distribution.ID, f.Digest, ErrNotVouchedFor))
			}
		}
		for _, f := range s.Files {
			if !slices.Contains(pinned.Files, f) {
				errs = append(errs, fmt.Errorf("verifying source %q of %q: the lock lacks %q, %s", s.Name, req.Distribution.ID, f.Path, f.Digest))
			}
		}
	}
	return errs
}

// read fetches and verifies the metadata of all sources; of what locked pins, when it
// is not nil, nothing but that.
func read(ctx context.Context, files packages.Files, req packages.Request, locked *manifest.LockedPackages) (*metadata, error) {
	m := &metadata{}
	sources := req.Sources()
	automatic := make([]bool, len(sources))
	m.universe = newUniverse(req.Arch, automatic)
	for i, s := range sources {
		r := &sourceReader{files: files, req: req, source: s}
		if locked != nil {
			pinned := locked.Source(s.Name)
			if pinned == nil {
				return nil, fmt.Errorf("verifying the packages of %q: source %q is not locked", req.Distribution.ID, s.Name)
			}
			r.pin = pinned.Digest
		}
		if err := r.read(ctx, m.universe, i); err != nil {
			return nil, fmt.Errorf("reading source %q of %q, %s %s: %w", s.Name, req.Distribution.ID, r.out.URL, s.Suite, err)
		}
		automatic[i] = !r.release.NotAutomatic
		m.locked, m.releases = append(m.locked, r.out), append(m.releases, r.release)
	}
	m.universe.finish()
	return m, nil
}

// sourceReader reads one source.
type sourceReader struct {
	files  packages.Files
	req    packages.Request
	source manifest.PackageSource
	// pin is the digest that InRelease must have; empty for that of the request.
	pin     digest.Digest
	release *Release
	out     manifest.LockedPackageSource
}

func (r *sourceReader) read(ctx context.Context, u *universe, number int) error {
	s := r.source
	r.out = manifest.LockedPackageSource{Name: s.Name, URL: s.Address(r.req.Arch), Suite: s.Suite, Sections: s.Sections}
	if err := r.readRelease(ctx); err != nil {
		return err
	}
	for _, section := range s.Sections {
		indexes, err := r.release.indexes(section, r.req.Arch)
		if err != nil {
			return err
		}
		for _, path := range indexes {
			if err := r.readIndex(ctx, path, func(p *Package) error {
				p.source = number
				u.add(p)
				return nil
			}); err != nil {
				return fmt.Errorf("index %q: %w", path, err)
			}
		}
	}
	return nil
}

// dists is a path below dists/<suite>/, relative to the archive's root.
func (r *sourceReader) dists(path string) string { return "dists/" + r.source.Suite + "/" + path }

func (r *sourceReader) readRelease(ctx context.Context) error {
	pin := r.pin
	if pin == "" {
		var err error
		if pin, err = r.req.Pin(r.source); err != nil {
			return err
		}
	}
	path := r.dists("InRelease")
	url := packages.URL(r.out.URL, path)
	d, size, err := r.files.Fetch(ctx, url, pin)
	var mismatch *mirror.MismatchError
	if errors.As(err, &mismatch) && mismatch.Got != "" {
		return &packages.MovedSnapshotError{Distribution: r.req.Distribution.ID, Source: r.source.Name, URL: url, Pinned: pin, Now: mismatch.Got}
	}
	if err != nil {
		return err
	}
	data, err := r.readAll(ctx, d)
	if err != nil {
		return err
	}
	keyring, err := r.req.Keyring(r.source.Keyring)
	if err != nil {
		return err
	}
	if r.release, err = ReadRelease(data, keyring); err != nil {
		return &packages.SignatureError{File: url, Keyring: r.source.Keyring, Err: err}
	}
	if !r.release.Is(r.source.Suite) {
		return fmt.Errorf("it is signed as suite %q, codename %q: want %q", r.release.Suite, r.release.Codename, r.source.Suite)
	}
	r.out.Digest, r.out.Size, r.out.Signer = d, size, r.release.Signer
	r.out.Date = r.release.Date.Format(time.RFC3339)
	r.out.Files = append(r.out.Files, manifest.LockedMetadata{Path: path, Digest: d, Size: size})
	return nil
}

func (r *sourceReader) readAll(ctx context.Context, d digest.Digest) (_ []byte, err error) {
	f, err := r.files.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxRelease+1))
	if err == nil && len(data) > maxRelease {
		err = fmt.Errorf("it is larger than %d bytes", maxRelease)
	}
	return data, err
}

// readIndex fetches an index that InRelease names, by its hash where the archive has
// it so: a live archive may have moved on meanwhile.
func (r *sourceReader) readIndex(ctx context.Context, path string, each func(*Package) error) (err error) {
	want := r.release.Files[path]
	d := digest.NewDigestFromEncoded(digest.SHA256, want.SHA256)
	plain := packages.URL(r.out.URL, r.dists(path))
	var size int64
	err = errdef.ErrNotFound
	if r.release.ByHash {
		_, size, err = r.files.Fetch(ctx, packages.URL(r.out.URL, r.dists(ByHash(path, want.SHA256))), d)
	}
	if errors.Is(err, errdef.ErrNotFound) {
		_, size, err = r.files.Fetch(ctx, plain, d)
	}
	if err != nil {
		return err
	}
	if size != want.Size {
		return fmt.Errorf("it has %d bytes, its InRelease says %d", size, want.Size)
	}
	r.out.Files = append(r.out.Files, manifest.LockedMetadata{Path: r.dists(path), Digest: d, Size: size})
	f, err := r.files.Open(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := unpack(f, path)
	if err != nil {
		return err
	}
	return ReadIndex(text, r.req.Arch, each)
}

// ByHash is the path that an index is also to be had at, by its SHA-256.
func ByHash(path, sha256 string) string {
	dir := ""
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			dir = path[:i+1]
			break
		}
	}
	return dir + "by-hash/SHA256/" + sha256
}
