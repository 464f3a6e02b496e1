package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/serve"
)

// servedList is what a depot serves, and what it leaves out.
type servedList struct {
	o       ServeOptions
	bundles []served
	refused []serve.Refused
	// last is why the last of the refused was.
	last error
}

// served is an opened bundle; dir is where it was carried, "" for one that was named.
type served struct {
	dir string
	*intake.Bundle
	content serve.Content
}

// openServed opens what is served and checks it, each bundle to its end before the next
// is opened. Errors of bundles that were named are returned; a carried one is refused.
func openServed(ctx context.Context, o ServeOptions) (_ *servedList, err error) {
	l := &servedList{o: o}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if len(o.Intake.Paths) > 0 {
		if err := l.named(ctx); err != nil {
			return nil, err
		}
	}
	for _, dir := range o.Carried {
		if err := l.carried(ctx, dir); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			l.refuse(dir, fmt.Errorf("opening %q: %w", dir, err))
		}
	}
	if len(l.bundles) == 0 {
		return nil, l.last
	}
	return l, nil
}

// named opens the bundles that the paths name.
func (l *servedList) named(ctx context.Context) error {
	list, err := intake.OpenAll(ctx, l.o.Intake)
	if err != nil {
		return err
	}
	for _, b := range list {
		l.bundles = append(l.bundles, served{Bundle: b})
	}
	if err := intake.CheckAllScanned(list, l.o.AllowUnscanned); err != nil {
		return err
	}
	for i := range l.bundles {
		if err := l.prepare(ctx, &l.bundles[i]); err != nil {
			return err
		}
	}
	return nil
}

// carried opens the bundle in a folder of the depot. One that is served already, from
// elsewhere, is passed over.
func (l *servedList) carried(ctx context.Context, dir string) error {
	in := l.o.Intake
	in.Paths = []string{dir}
	b, err := intake.Open(ctx, in)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.bundles, func(have served) bool { return have.BundleDigest() == b.BundleDigest() }) {
		return b.Close()
	}
	s := served{dir: dir, Bundle: b}
	err = b.CheckScanned(l.o.AllowUnscanned)
	if err == nil {
		err = l.prepare(ctx, &s)
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	l.bundles = append(l.bundles, s)
	return nil
}

// prepare checks the signatures in a bundle and, where that is recorded, its content.
func (l *servedList) prepare(ctx context.Context, s *served) error {
	signed, err := s.WithSignatures(ctx)
	if err != nil {
		return fmt.Errorf("checking the signatures in bundle %s: %w", s.BundleDigest(), err)
	}
	s.content = newSized(signed)
	if l.o.RecordDir == "" {
		return nil
	}
	if err := register(ctx, s.Bundle, l.o); err != nil {
		return fmt.Errorf("registering bundle %s: %w", s.BundleDigest(), err)
	}
	return nil
}

// server makes the server, without those of the carried bundles that it cannot serve.
func (l *servedList) server(ctx context.Context) (server *serve.Server, err error) {
	for {
		o := serve.Options{
			Refused: l.refused,
			OnReady: func(addr net.Addr) {
				if l.o.OnReady != nil {
					l.o.OnReady(addr.String(), len(server.Repositories()), len(server.Tags()))
				}
			},
			OnRequest: l.o.OnRequest,
			OnError:   func(err error) { l.o.Progress.Note("connection: " + err.Error()) },
		}
		for _, s := range l.bundles {
			o.Contents = append(o.Contents, s.content)
		}
		server, err = serve.New(ctx, o)
		var bad *serve.ContentError
		if err == nil || ctx.Err() != nil || !errors.As(err, &bad) || l.bundles[bad.At].dir == "" {
			return server, err
		}
		s := l.bundles[bad.At]
		l.bundles = slices.Delete(l.bundles, bad.At, bad.At+1)
		l.refuse(s.dir, fmt.Errorf("reading bundle %s: %w", s.BundleDigest(), errors.Join(bad.Err, s.Close())))
		if len(l.bundles) == 0 {
			return nil, l.last
		}
	}
}

// refuse leaves a carried bundle out, and says so.
func (l *servedList) refuse(dir string, err error) {
	l.last = err
	r := serve.Refused{Name: filepath.Base(dir), Reason: err.Error()}
	if mark, err := os.ReadFile(filepath.Join(dir, completeName)); err == nil {
		if d := digest.Digest(strings.TrimSpace(string(mark))); d.Validate() == nil {
			r.Bundle = d
		}
	}
	l.refused = append(l.refused, r)
	if l.o.OnRefused != nil {
		l.o.OnRefused(dir, err)
	}
}

func (l *servedList) close() {
	for _, s := range l.bundles {
		_ = s.Close()
	}
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
