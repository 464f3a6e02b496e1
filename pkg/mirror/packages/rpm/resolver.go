package rpm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/errdef"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/packages"
)

// Resolver is the packages.Resolver of RPM distributions.
type Resolver struct {
	// Note is told what was decided on the way: module streams taken, alternatives
	// left out, packages that conflict. It may be nil.
	Note func(string)
}

var _ packages.Resolver = (*Resolver)(nil)

// source is one source of a distribution with its metadata in the store.
type source struct {
	manifest.PackageSource
	url    string
	repomd *Repomd
	locked manifest.LockedPackageSource
}

// Resolve implements packages.Resolver.
func (r *Resolver) Resolve(ctx context.Context, files packages.Files, req packages.Request) (*manifest.LockedPackages, error) {
	var sources []*source
	for _, s := range req.Sources() {
		fetched, err := fetchMetadata(ctx, files, req, s)
		if err != nil {
			return nil, err
		}
		sources = append(sources, fetched)
	}
	universe, err := loadUniverse(ctx, files, req.Arch, sources)
	if err != nil {
		return nil, fmt.Errorf("reading the packages of %q for %s: %w", req.Distribution.ID, req.Platform, err)
	}
	r.note(req, universe.Notes())
	out := &manifest.LockedPackages{}
	for _, s := range sources {
		out.Sources = append(out.Sources, s.locked)
	}
	components := map[*Package][]string{}
	var order []*Package
	unmet := &packages.UnmetError{Distribution: req.Distribution.ID, Platform: req.Platform}
	for _, root := range req.Roots {
		closure, err := universe.Resolve(ctx, root.Names)
		var unresolved *UnresolvedError
		if errors.As(err, &unresolved) {
			for _, p := range unresolved.Problems {
				unmet.List = append(unmet.List, packages.Unmet{Want: p.Name, By: fmt.Sprintf("component %q (%s)", root.Component, p.Reason)})
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("resolving packages of %q for %s: %w", req.Distribution.ID, req.Platform, err)
		}
		r.note(req, closure.Notes)
		for _, p := range closure.Packages {
			if components[p] == nil {
				order = append(order, p)
			}
			components[p] = append(components[p], root.Component)
		}
	}
	if len(unmet.List) > 0 {
		return nil, unmet
	}
	for _, p := range order {
		locked, err := lockPackage(ctx, files, sources, p)
		if err != nil {
			return nil, fmt.Errorf("locking package %s of %q: %w", p, req.Distribution.ID, err)
		}
		locked.Components = components[p]
		slices.Sort(locked.Components)
		out.Packages = append(out.Packages, locked)
	}
	slices.SortFunc(out.Packages, manifest.ComparePackages)
	return out, nil
}

func (r *Resolver) note(req packages.Request, notes []string) {
	if r.Note == nil {
		return
	}
	for _, n := range notes {
		r.Note(fmt.Sprintf("packages of %q for %s: %s", req.Distribution.ID, req.Platform, n))
	}
}

// fetchMetadata fetches repomd.xml of a source, its signature where there is one,
// and every file that it names.
func fetchMetadata(ctx context.Context, files packages.Files, req packages.Request, s manifest.PackageSource) (*source, error) {
	pin, err := req.Pin(s)
	if err != nil {
		return nil, err
	}
	out := &source{PackageSource: s, url: s.Address(req.Arch)}
	where := packages.URL(out.url, RepomdName)
	d, size, err := files.Fetch(ctx, where, pin)
	var mismatch *mirror.MismatchError
	if errors.As(err, &mismatch) && mismatch.Got != "" {
		return nil, &packages.MovedSnapshotError{Distribution: req.Distribution.ID, Source: s.Name, URL: where, Pinned: pin, Now: mismatch.Got}
	}
	if err != nil {
		return nil, fmt.Errorf("fetching metadata of source %q of %q: %w", s.Name, req.Distribution.ID, err)
	}
	out.locked = manifest.LockedPackageSource{Name: s.Name, URL: out.url, Digest: d, Size: size}
	out.add(RepomdName, d, size)
	data, err := readAll(ctx, files, d, maxRepomd)
	if err != nil {
		return nil, err
	}
	if err := out.fetchSignature(ctx, files, req, data); err != nil {
		return nil, err
	}
	if out.repomd, err = ParseRepomd(data); err != nil {
		return nil, fmt.Errorf("reading source %q of %q: %w", s.Name, req.Distribution.ID, err)
	}
	out.locked.Date = date(out.repomd.Revision)
	for i := range out.repomd.Data {
		if err := out.fetchData(ctx, files, &out.repomd.Data[i]); err != nil {
			return nil, fmt.Errorf("fetching metadata of source %q of %q: %w", s.Name, req.Distribution.ID, err)
		}
	}
	return out, nil
}

func (s *source) add(path string, d digest.Digest, size int64) {
	if !slices.ContainsFunc(s.locked.Files, func(f manifest.LockedMetadata) bool { return f.Path == path }) {
		s.locked.Files = append(s.locked.Files, manifest.LockedMetadata{Path: path, Digest: d, Size: size})
	}
}

// fetchSignature fetches repomd.xml.asc and verifies it. Vendors that do not sign
// their metadata have none: their packages are signed, each for itself.
func (s *source) fetchSignature(ctx context.Context, files packages.Files, req packages.Request, repomd []byte) error {
	where := packages.URL(s.url, SignatureName)
	d, size, err := files.Fetch(ctx, where, "")
	if errors.Is(err, errdef.ErrNotFound) && s.Signed {
		return &packages.SignatureError{File: packages.URL(s.url, RepomdName), Keyring: s.Keyring, Err: fmt.Errorf("the vendor signs it, and %q is not there", SignatureName)}
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetching the signature of source %q of %q: %w", s.Name, req.Distribution.ID, err)
	}
	s.add(SignatureName, d, size)
	signer, err := verifyRepomd(ctx, files, req, s.PackageSource, repomd, d)
	if err != nil {
		return err
	}
	s.locked.Signer = signer.Fingerprint
	return nil
}

func verifyRepomd(ctx context.Context, files packages.Files, req packages.Request, s manifest.PackageSource, repomd []byte, signature digest.Digest) (*Signer, error) {
	keys, err := keyring(req, s)
	if err != nil {
		return nil, err
	}
	asc, err := readAll(ctx, files, signature, maxSignature)
	if err != nil {
		return nil, err
	}
	where := packages.URL(s.Address(req.Arch), RepomdName)
	signer, err := keys.VerifyDetached(where, repomd, asc)
	if err != nil {
		return nil, &packages.SignatureError{File: where, Keyring: s.Keyring, Err: err}
	}
	return signer, nil
}

func keyring(req packages.Request, s manifest.PackageSource) (*Keyring, error) {
	data, err := req.Keyring(s.Keyring)
	if err != nil {
		return nil, err
	}
	k, err := ReadKeyring(data)
	if err != nil {
		return nil, fmt.Errorf("reading keyring %q: %w", s.Keyring, err)
	}
	return k, nil
}

// fetchData fetches one file that repomd.xml names.
func (s *source) fetchData(ctx context.Context, files packages.Files, data *Data) error {
	d, size, err := fetchChecked(ctx, files, packages.URL(s.url, data.Location), data.Digest)
	if err != nil {
		return err
	}
	if data.Size >= 0 && size != data.Size {
		return fmt.Errorf("%s has %d bytes, repomd.xml says %d", data.Location, size, data.Size)
	}
	s.add(data.Location, d, size)
	return nil
}

// fetchChecked fetches what a vendor's checksum vouches for, and returns the digest
// that the store knows it by.
func fetchChecked(ctx context.Context, files packages.Files, url string, want digest.Digest) (digest.Digest, int64, error) {
	if want.Algorithm() == digest.SHA256 {
		return files.Fetch(ctx, url, want)
	}
	d, size, err := files.Fetch(ctx, url, "")
	if err != nil {
		return "", 0, err
	}
	return d, size, checkSum(ctx, files, url, d, want)
}

// checkSum compares content of the store with a checksum of another algorithm.
func checkSum(ctx context.Context, files packages.Files, what string, d, want digest.Digest) error {
	if want.Algorithm() == d.Algorithm() {
		if want != d {
			return fmt.Errorf("%s is %s, the metadata says %s", what, d, want)
		}
		return nil
	}
	blob, err := files.Open(ctx, d)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	got, err := want.Algorithm().FromReader(blob)
	if err != nil {
		return fmt.Errorf("hashing %s: %w", what, err)
	}
	if got != want {
		return fmt.Errorf("%s is %s, the metadata says %s", what, got, want)
	}
	return nil
}

// lockPackage pins one package of a closure.
func lockPackage(ctx context.Context, files packages.Files, sources []*source, p *Package) (manifest.LockedPackage, error) {
	out := manifest.LockedPackage{Name: p.Name, Version: p.EVR.String(), Arch: p.Arch, Source: p.Repository, Path: p.Location, Digest: p.Digest, Size: p.Size}
	if p.Digest.Algorithm() == digest.SHA256 {
		return out, nil
	}
	i := slices.IndexFunc(sources, func(s *source) bool { return s.Name == p.Repository })
	var err error
	out.Digest, out.Size, err = fetchChecked(ctx, files, packages.URL(sources[i].url, p.Location), p.Digest)
	return out, err
}

// loadUniverse reads the metadata of all sources.
func loadUniverse(ctx context.Context, files packages.Files, arch string, sources []*source) (*Universe, error) {
	modules := &Modules{}
	var repos []*Repository
	for _, s := range sources {
		repo := &Repository{Name: s.Name}
		if err := s.read(ctx, files, DataPrimary, func(r io.Reader) error {
			return ReadPrimary(r, func(p *Package) error {
				if p.Arch == arch || p.Arch == "noarch" {
					repo.Packages = append(repo.Packages, p)
				}
				return ctx.Err()
			})
		}); err != nil {
			return nil, fmt.Errorf("source %q: %w", s.Name, err)
		}
		if s.repomd.Find(DataFilelists) != nil {
			repo.FindFiles = func(ctx context.Context, wanted map[string]bool, found func(id, path string)) error {
				return s.read(ctx, files, DataFilelists, func(r io.Reader) error { return ReadFilelists(r, wanted, found) })
			}
		}
		if s.repomd.Find(DataModules) != nil {
			if err := s.read(ctx, files, DataModules, modules.ReadModules); err != nil {
				return nil, fmt.Errorf("source %q: %w", s.Name, err)
			}
		}
		repos = append(repos, repo)
	}
	return NewUniverse(arch, repos, modules), nil
}

// read reads a file of metadata out of the store, unpacked.
func (s *source) read(ctx context.Context, files packages.Files, kind string, f func(io.Reader) error) error {
	data := s.repomd.Find(kind)
	i := slices.IndexFunc(s.locked.Files, func(f manifest.LockedMetadata) bool { return f.Path == data.Location })
	if i < 0 {
		return fmt.Errorf("the lock lacks %s", data.Location)
	}
	blob, err := files.Open(ctx, s.locked.Files[i].Digest)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	open, err := Decompress(blob, cmp.Or(data.OpenSize, maxOpen))
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	return f(open)
}

// readAll reads a small file out of the store.
func readAll(ctx context.Context, files packages.Files, d digest.Digest, limit int64) ([]byte, error) {
	blob, err := files.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = blob.Close() }()
	data, err := io.ReadAll(io.LimitReader(blob, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d, err)
	}
	return data, nil
}

// date is a revision as a time, where it is one in seconds, as createrepo writes it.
func date(revision string) string {
	n, err := strconv.ParseInt(revision, 10, 64)
	if err != nil || n < 1e9 || n > 1e11 {
		return ""
	}
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}
