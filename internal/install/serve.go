// Package install composes the isolated side: bundles taken in, served and pushed.
package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/opencontainers/go-digest"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/serve"
	"naru/pkg/sign/verify"
)

// ServeOptions are those of Serve.
type ServeOptions struct {
	Intake intake.Options
	// Carried are the folders of a depot, a bundle each. One that nobody trusted signed,
	// or nobody scanned, or that cannot be opened because its volumes are damaged or gone,
	// is left out and told to OnRefused: it must not end the service of the others.
	Carried   []string
	OnRefused func(dir string, err error)
	// AllowUnscanned takes bundles that were built without a scan.
	AllowUnscanned bool
	// Listen is the address, host:port.
	Listen string
	TLS    serve.TLSOptions
	// RecordDir keeps what was verified; empty to verify content as it is asked for.
	RecordDir string
	// OnReady is called once, with the address that connections are answered on and
	// what is served.
	OnReady func(addr string, repositories, tags int)
	// OnRequest is told of each request, from many goroutines.
	OnRequest func(serve.Request)
	Progress  progress.Observer
}

// Serve serves the union of bundles until ctx ends. Each is opened and its
// signature verified first; with RecordDir its content as well, once.
func Serve(ctx context.Context, o ServeOptions) error {
	bundles, err := openServed(ctx, o)
	if err != nil {
		return err
	}
	defer intake.CloseAll(bundles)
	signed, err := intake.WithAllSignatures(ctx, bundles)
	if err != nil {
		return err
	}
	contents := make([]serve.Content, len(bundles))
	for i, b := range bundles {
		contents[i] = newSized(signed[i])
		if o.RecordDir == "" {
			continue
		}
		if err := register(ctx, b, o); err != nil {
			return fmt.Errorf("registering bundle %s: %w", b.BundleDigest(), err)
		}
	}
	var server *serve.Server
	server, err = serve.New(ctx, serve.Options{
		Contents: contents,
		OnReady: func(addr net.Addr) {
			if o.OnReady != nil {
				o.OnReady(addr.String(), len(server.Repositories()), len(server.Tags()))
			}
		},
		OnRequest: o.OnRequest,
		OnError:   func(err error) { o.Progress.Note("connection: " + err.Error()) },
	})
	if err != nil {
		return err
	}
	for _, c := range server.Conflicts() {
		o.Progress.Note(fmt.Sprintf("%s: served as %s, the earlier bundle's %s is hidden", c.Name, c.Served, c.Hidden))
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	if len(o.TLS.Names) == 0 {
		if o.TLS.Names, err = keptNames(o.TLS.StateDir, defaultNames(ln.Addr())); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	return server.Serve(ctx, ln, o.TLS)
}

// openServed opens what is served. Nothing left of what was carried is the error of the
// last bundle refused.
func openServed(ctx context.Context, o ServeOptions) (_ []*intake.Bundle, err error) {
	var bundles []*intake.Bundle
	defer func() {
		if err != nil {
			intake.CloseAll(bundles)
		}
	}()
	if len(o.Intake.Paths) > 0 {
		if bundles, err = intake.OpenAll(ctx, o.Intake); err != nil {
			return nil, err
		}
		if err := intake.CheckAllScanned(bundles, o.AllowUnscanned); err != nil {
			return nil, err
		}
	}
	var last error
	for _, dir := range o.Carried {
		b, err := openCarried(ctx, o, dir)
		switch {
		case err != nil && refuses(err):
			last = fmt.Errorf("opening %q: %w", dir, err)
			o.OnRefused(dir, err)
		case err != nil:
			return nil, fmt.Errorf("opening %q: %w", dir, err)
		case slices.ContainsFunc(bundles, func(have *intake.Bundle) bool { return have.BundleDigest() == b.BundleDigest() }):
			_ = b.Close()
		default:
			bundles = append(bundles, b)
		}
	}
	if len(bundles) == 0 {
		return nil, last
	}
	return bundles, nil
}

func openCarried(ctx context.Context, o ServeOptions, dir string) (*intake.Bundle, error) {
	in := o.Intake
	in.Paths = []string{dir}
	b, err := intake.Open(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := b.CheckScanned(o.AllowUnscanned); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// refuses tells the errors of a bundle that is not to be served, or cannot be.
func refuses(err error) bool {
	return errors.As(err, new(*verify.RevokedError)) || errors.As(err, new(*verify.NoMatchError)) || errors.As(err, new(*intake.UnscannedError)) ||
		errors.As(err, new(*archive.DamagedError)) || errors.As(err, new(*archive.MissingVolumeError)) || errors.As(err, new(*archive.NotABundleError))
}

// sized is a bundle that tells the sizes of its blobs.
type sized struct {
	*intake.Signed
	sizes map[digest.Digest]int64
}

func newSized(b *intake.Signed) *sized {
	s := &sized{Signed: b, sizes: map[digest.Digest]int64{}}
	for _, blob := range b.Contents().Blobs {
		s.sizes[blob.Digest] = blob.Size
	}
	return s
}

// Bundle implements [serve.Described]: the field of that name would hide it.
func (s *sized) Bundle() *manifest.Bundle { return s.Reader.Bundle() }

// BlobSize implements [serve.Sized].
func (s *sized) BlobSize(d digest.Digest) (int64, bool) {
	size, held := s.sizes[d]
	return size, held
}

func register(ctx context.Context, b *intake.Bundle, o ServeOptions) error {
	var total int64
	for _, blob := range b.Contents().Blobs {
		total += blob.Size
	}
	o.Progress.Start("verify", total)
	_, err := intake.Register(ctx, b, o.RecordDir, archive.VerifyOptions{Progress: o.Progress.Add})
	return err
}
