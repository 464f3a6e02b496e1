package rpm

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/manifest"
	"naru/pkg/mirror/packages"
)

// verifyJobs bounds how many packages are verified at a time.
const verifyJobs = 4

// Verify implements packages.Resolver: the vendor's signature on repomd.xml where
// the lock has one, every file that repomd.xml names, that primary.xml lists every
// package by its digest, and the signature in every package.
func (r *Resolver) Verify(ctx context.Context, files packages.Files, req packages.Request, locked *manifest.LockedPackages) error {
	for _, s := range req.Sources() {
		pinned := locked.Source(s.Name)
		if pinned == nil {
			return fmt.Errorf("verifying packages of %q: source %q is not locked", req.Distribution.ID, s.Name)
		}
		src, err := verifyMetadata(ctx, files, req, s, pinned)
		if err != nil {
			return fmt.Errorf("verifying source %q of %q: %w", s.Name, req.Distribution.ID, err)
		}
		if err := verifyPackages(ctx, files, req, src, locked); err != nil {
			return err
		}
	}
	return nil
}

// verifyMetadata checks repomd.xml and what it names.
func verifyMetadata(ctx context.Context, files packages.Files, req packages.Request, s manifest.PackageSource, pinned *manifest.LockedPackageSource) (*source, error) {
	at := func(path string) digest.Digest {
		for _, f := range pinned.Files {
			if f.Path == path {
				return f.Digest
			}
		}
		return ""
	}
	if at(RepomdName) != pinned.Digest {
		return nil, fmt.Errorf("the lock does not list its repomd.xml")
	}
	repomd, err := readAll(ctx, files, pinned.Digest, maxRepomd)
	if err != nil {
		return nil, err
	}
	if signature := at(SignatureName); signature != "" {
		signer, err := verifyRepomd(ctx, files, req, s, repomd, signature)
		if err != nil {
			return nil, err
		}
		if signer.Fingerprint != pinned.Signer { // clients are told by it whether to check
			return nil, fmt.Errorf("repomd.xml is signed by %s, the lock says %q", signer.Fingerprint, pinned.Signer)
		}
	} else if pinned.Signer != "" {
		return nil, fmt.Errorf("the lock says who signed repomd.xml, and lacks the signature")
	}
	out := &source{PackageSource: s, url: pinned.URL, locked: *pinned}
	if out.repomd, err = ParseRepomd(repomd); err != nil {
		return nil, err
	}
	if err := out.named(); err != nil {
		return nil, err
	}
	for _, d := range out.repomd.Data {
		have := at(d.Location)
		if have == "" {
			return nil, fmt.Errorf("the lock lacks %s, which repomd.xml names", d.Location)
		}
		if err := checkSum(ctx, files, d.Location, have, d.Digest); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// named tells whether the lock lists nothing but repomd.xml, its signature and what
// repomd.xml names, each once.
func (s *source) named() error {
	seen := map[string]bool{}
	for _, f := range s.locked.Files {
		known := f.Path == RepomdName || f.Path == SignatureName ||
			slices.ContainsFunc(s.repomd.Data, func(d Data) bool { return d.Location == f.Path })
		if !known || seen[f.Path] {
			return fmt.Errorf("the lock lists %s, which repomd.xml does not name, or twice", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

// verifyPackages checks the locked packages of a source.
func verifyPackages(ctx context.Context, files packages.Files, req packages.Request, s *source, locked *manifest.LockedPackages) error {
	keys, err := keyring(req, s.PackageSource)
	if err != nil {
		return err
	}
	want := map[string]manifest.LockedPackage{}
	for _, p := range locked.Packages {
		if p.Source == s.Name {
			want[p.Path] = p
		}
	}
	listed := map[string]*Package{}
	err = s.read(ctx, files, DataPrimary, func(r io.Reader) error {
		return ReadPrimary(r, func(p *Package) error {
			if _, ok := want[p.Location]; ok {
				listed[p.Location] = p
			}
			return ctx.Err()
		})
	})
	if err != nil {
		return fmt.Errorf("verifying source %q of %q: %w", s.Name, req.Distribution.ID, err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(verifyJobs)
	for _, p := range locked.Packages {
		if p.Source == s.Name {
			group.Go(func() error { return verifyOne(gctx, files, s, keys, p, listed[p.Path]) })
		}
	}
	return group.Wait()
}

// verifyOne checks that a package is the one that metadata lists, and that the
// vendor signed it.
func verifyOne(ctx context.Context, files packages.Files, s *source, keys *Keyring, p manifest.LockedPackage, listed *Package) error {
	where := packages.URL(s.url, p.Path)
	if listed == nil {
		return fmt.Errorf("verifying %s: the metadata does not list it", where)
	}
	if err := checkSum(ctx, files, where, p.Digest, listed.Digest); err != nil {
		return fmt.Errorf("verifying %s: %w", where, err)
	}
	blob, err := files.Open(ctx, p.Digest)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", where, err)
	}
	defer func() { _ = blob.Close() }()
	id, err := keys.VerifyPackage(where, blob)
	if err != nil {
		return &packages.SignatureError{File: where, Keyring: s.Keyring, Err: err}
	}
	if !id.Is(listed) || p.Version != id.EVR.String() || p.Name != id.Name || p.Arch != id.Arch {
		return fmt.Errorf("verifying %s: it says it is %s, the metadata says %s", where, id, listed)
	}
	return nil
}
