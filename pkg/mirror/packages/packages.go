package packages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/store"
)

// Request asks for the packages of a distribution on a platform.
type Request struct {
	Distribution *manifest.Distribution
	// Platform is "os/arch", Arch the distribution's own name of it.
	Platform, Arch string
	// Keyring are the OpenPGP keys of a name that a source gives, armoured or binary.
	Keyring func(name string) ([]byte, error)
	// Roots are what is asked for, by component; none is empty.
	Roots []manifest.LockedRoots
	// Pinned is what the lock has; nil when nothing pins the metadata.
	Pinned *manifest.LockedPackages
}

// Sources are those that the platform has.
func (r Request) Sources() []manifest.PackageSource {
	var out []manifest.PackageSource
	for _, s := range r.Distribution.Sources {
		if s.For(r.Platform) {
			out = append(out, s)
		}
	}
	return out
}

// Pin is the digest that the main metadata file of a source must have: that of the
// lock, else the one the distribution states; empty if neither says. Two that differ
// are an error.
func (r Request) Pin(s manifest.PackageSource) (digest.Digest, error) {
	var stated digest.Digest
	if s.SHA256 != "" {
		stated = digest.NewDigestFromEncoded(digest.SHA256, s.SHA256)
	}
	if r.Pinned == nil {
		return stated, nil
	}
	locked := r.Pinned.Source(s.Name)
	if locked == nil || locked.URL != s.Address(r.Arch) {
		return stated, nil
	}
	if stated != "" && stated != locked.Digest {
		return "", fmt.Errorf("pinning source %q of %q: it states %s, the lock says %s", s.Name, r.Distribution.ID, stated, locked.Digest)
	}
	return locked.Digest, nil
}

// Files fetches metadata files into the store and reads them there. It is safe for
// concurrent use.
type Files interface {
	// Fetch brings what a URL serves into the store. Where want is not empty and the
	// store has it, the network is not asked; other content is a *mirror.MismatchError.
	Fetch(ctx context.Context, url string, want digest.Digest) (digest.Digest, int64, error)
	// Open opens content of the store.
	Open(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error)
}

// Resolver knows the metadata of a package system. It is safe for concurrent use.
type Resolver interface {
	// Resolve fetches the metadata of all sources, verifies the vendor's signatures
	// and computes the closure of all roots. The result is complete but for PinnedBy;
	// sources are in the order of the distribution. Main metadata files that are
	// pinned (Request.Pin) and differ are a *MovedSnapshotError; what cannot be had is
	// an *UnmetError.
	Resolve(ctx context.Context, files Files, req Request) (*manifest.LockedPackages, error)
	// Verify checks what a lock pins, all of which is in the store: that the vendor
	// signed the metadata of every source, and that the metadata, or the signature of
	// the package itself, vouches for the digest of every package.
	Verify(ctx context.Context, files Files, req Request, locked *manifest.LockedPackages) error
}

// MovedSnapshotError says that a source serves other metadata than was pinned.
type MovedSnapshotError struct {
	Distribution, Source, URL string
	Pinned, Now               digest.Digest
}

func (e *MovedSnapshotError) Error() string {
	return fmt.Sprintf("reading source %q of %q, %s: the snapshot moved: locked as %s, now %s", e.Source, e.Distribution, e.URL, e.Pinned, e.Now)
}

// Unmet is something that no carried source offers.
type Unmet struct {
	// Want is the relation as the metadata has it, By the package (name and version) or the
	// component that wants it.
	Want, By string
}

// UnmetError lists what the sources of a distribution do not offer.
type UnmetError struct {
	Distribution, Platform string
	List                   []Unmet
}

func (e *UnmetError) Error() string {
	var errs []error
	for _, u := range e.List {
		errs = append(errs, fmt.Errorf("resolving packages of %q for %s: nothing offers %q, which %s needs", e.Distribution, e.Platform, u.Want, u.By))
	}
	return errors.Join(errs...).Error()
}

// SignatureError says that metadata or a package is not signed by the vendor's keys.
type SignatureError struct {
	// File is the URL or path of what was to be verified, Keyring the name of the keys.
	File, Keyring string
	Err           error
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("verifying the signature of %s with keyring %q: %v", e.File, e.Keyring, e.Err)
}

func (e *SignatureError) Unwrap() error { return e.Err }

// Carrier resolves and fetches packages into a store. It is safe for concurrent use.
type Carrier struct {
	mirror    *mirror.Mirror
	store     *store.Store
	resolvers map[manifest.Family]Resolver
	jobs      int
}

// New is a Carrier that knows the given families and transfers jobs files at a time.
func New(m *mirror.Mirror, st *store.Store, resolvers map[manifest.Family]Resolver, jobs int) *Carrier {
	return &Carrier{mirror: m, store: st, resolvers: resolvers, jobs: max(jobs, 1)}
}

// Resolve settles which packages are carried. Where the lock covers everything asked
// for it is taken as it stands, without asking the network.
func (c *Carrier) Resolve(ctx context.Context, req Request) (*manifest.LockedPackages, error) {
	if req.Covered() {
		return req.Pinned.Only(components(req.Roots)), nil
	}
	resolver, err := c.resolver(req)
	if err != nil {
		return nil, err
	}
	out, err := resolver.Resolve(ctx, c, req)
	if err != nil {
		return nil, err
	}
	out.Distribution, out.Platform, out.Roots = req.Distribution.ID, req.Platform, req.Roots
	return out, nil
}

func (c *Carrier) resolver(req Request) (Resolver, error) {
	r := c.resolvers[req.Distribution.Family]
	if r == nil {
		return nil, fmt.Errorf("resolving packages of %q: family %q is not known", req.Distribution.ID, req.Distribution.Family)
	}
	if len(req.Sources()) == 0 {
		return nil, fmt.Errorf("resolving packages of %q: it has no source for %s", req.Distribution.ID, req.Platform)
	}
	return r, nil
}

// Covered tells whether the lock pins everything asked for, from the sources that the
// distribution has now.
func (r Request) Covered() bool {
	if r.Pinned == nil {
		return false
	}
	for _, root := range r.Roots {
		if !r.Pinned.Covers(root) {
			return false
		}
	}
	sources := r.Sources()
	return len(sources) == len(r.Pinned.Sources) && !slices.ContainsFunc(sources, func(s manifest.PackageSource) bool {
		locked := r.Pinned.Source(s.Name)
		return locked == nil || locked.URL != s.Address(r.Arch) || locked.Suite != s.Suite || !slices.Equal(locked.Sections, s.Sections) ||
			s.SHA256 != "" && s.SHA256 != locked.Digest.Encoded()
	})
}

func components(roots []manifest.LockedRoots) []string {
	var out []string
	for _, r := range roots {
		out = append(out, r.Component)
	}
	return out
}

// Fetch is Files.Fetch.
func (c *Carrier) Fetch(ctx context.Context, url string, want digest.Digest) (digest.Digest, int64, error) {
	f, err := c.mirror.FetchFile(ctx, mirror.File{Component: "metadata", Name: url, URL: url, Digest: want})
	if err != nil {
		return "", 0, err
	}
	return f.Digest, f.Size, nil
}

// Open is Files.Open.
func (c *Carrier) Open(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	return c.store.OpenBlob(ctx, d)
}
