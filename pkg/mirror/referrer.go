package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// cosignSuffixes are the tags that cosign hangs on an image, beside the digest in
// the form sha256-<hex>.
var cosignSuffixes = []string{".sig", ".att", ".sbom"}

// referrers takes what speaks of the index and of each platform manifest: the
// pinned ones, or what upstream has now. Referrers of referrers, such as the
// signature of an SBOM, come along. The order is that of the lock, so that it
// does not matter how they were found.
func (w *walker) referrers(ctx context.Context, pinned []Referrer) error {
	found := slices.Clone(pinned)
	if pinned == nil {
		subjects := []ocispec.Descriptor{w.out.Descriptor}
		for _, p := range w.out.Platforms {
			if p.Descriptor.Digest != w.out.Descriptor.Digest {
				subjects = append(subjects, p.Descriptor)
			}
		}
		for _, subject := range subjects {
			more, err := w.discover(ctx, subject, maxReferrerDepth)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
	}
	slices.SortFunc(found, compareReferrers)
	found = slices.CompactFunc(found, func(a, b Referrer) bool { return compareReferrers(a, b) == 0 })
	for _, r := range found {
		if err := w.takeReferrer(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// maxReferrerDepth is how many levels of referrers come along.
const maxReferrerDepth = 2

func compareReferrers(a, b Referrer) int {
	return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest))
}

// discover asks upstream for referrers and cosign tags of subject, depth levels deep.
func (w *walker) discover(ctx context.Context, subject ocispec.Descriptor, depth int) ([]Referrer, error) {
	if depth == 0 {
		return nil, nil
	}
	repo, err := w.m.client.Repository(w.ref.Name())
	if err != nil {
		return nil, err
	}
	var found []Referrer
	err = inWhole(func() error {
		found = nil
		return repo.Referrers(ctx, subject, "", func(list []ocispec.Descriptor) error {
			for _, d := range list {
				found = append(found, Referrer{Descriptor: d, Subject: subject.Digest})
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("asking for referrers of %s of %q: %w", subject.Digest, w.ref, err)
	}
	for _, r := range slices.Clone(found) {
		more, err := w.discover(ctx, r.Descriptor, depth-1)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	for _, suffix := range cosignSuffixes {
		tag := strings.Replace(subject.Digest.String(), ":", "-", 1) + suffix
		desc, err := repo.Resolve(ctx, tag)
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking for %s of %q: %w", tag, w.ref, err)
		}
		found = append(found, Referrer{Descriptor: desc, Tag: tag, Subject: subject.Digest})
	}
	return found, nil
}

// takeReferrer fetches one referrer and notes it.
func (w *walker) takeReferrer(ctx context.Context, r Referrer) error {
	desc, doc, err := w.manifest(ctx, r.Descriptor.Digest)
	if err != nil {
		return err
	}
	if desc.ArtifactType == "" && doc.Config != nil {
		desc.ArtifactType = doc.Config.MediaType // as the referrers API has it
	}
	r.Descriptor = desc
	w.out.Referrers = append(w.out.Referrers, r)
	return w.attachment(ctx, desc.Digest)
}

// isNotFound tells that a registry does not have a name, in any of the ways that
// registries say so.
func isNotFound(err error) bool {
	var response *errcode.ErrorResponse
	return errors.Is(err, errdef.ErrNotFound) || errors.As(err, &response) && response.StatusCode == http.StatusNotFound
}

// PinnedReferrer is a referrer that a lock names.
func PinnedReferrer(d, subject digest.Digest, tag string) Referrer {
	return Referrer{Descriptor: ocispec.Descriptor{Digest: d}, Tag: tag, Subject: subject}
}
