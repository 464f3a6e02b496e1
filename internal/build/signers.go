package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/sign"
)

// trustedRootPath is where the trusted root that keyless signatures were verified with
// lies in a bundle.
const trustedRootPath = "reports/trusted_root.json"

// UpstreamSignatureError says that an image is not signed by whom its component names.
type UpstreamSignatureError struct {
	Ref string
	// Err says why each signature that came along did not do; nil when there was none.
	Err error
}

func (e *UpstreamSignatureError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("checking who signed %q: no signature came along", e.Ref)
	}
	return fmt.Sprintf("checking who signed %q: %v", e.Ref, e.Err)
}

func (e *UpstreamSignatureError) Unwrap() error { return e.Err }

// checkSigners verifies upstream's signatures of the images whose component says who
// signs them.
//
// Inputs: images with their referrers in the store. Outputs: none; an image that is not
// signed as it should be ends the build. Rerunning is safe: nothing is written.
func (r *run) checkSigners(ctx context.Context) error {
	if r.opts.TrustedRoot != nil {
		r.raw[trustedRootPath] = r.opts.TrustedRoot
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Jobs)
	for _, c := range r.selection.Components {
		for i := range c.Images {
			by := c.SignedByFor(&c.Images[i])
			img := r.pinnedAs(c.Images[i].Ref)
			if by == nil || img == nil {
				continue
			}
			group.Go(func() error { return r.checkImageSigner(gctx, img, by) })
		}
	}
	return group.Wait()
}

// pinnedAs is the image that is carried for a reference, or nil.
func (r *run) pinnedAs(ref string) *pinnedImage {
	for _, images := range r.images {
		for _, img := range images {
			if img.spelled == ref {
				return img
			}
		}
	}
	return nil
}

// checkImageSigner wants the manifest that the reference names signed, or else every
// platform of it that is carried.
func (r *run) checkImageSigner(ctx context.Context, img *pinnedImage, by *manifest.SignedBy) error {
	err := r.signedUpstream(ctx, img, img.Descriptor.Digest, by)
	if err == nil || len(img.Platforms) == 0 || img.Platforms[0].Descriptor.Digest == img.Descriptor.Digest {
		return err
	}
	for _, p := range img.Platforms {
		if r.signedUpstream(ctx, img, p.Descriptor.Digest, by) != nil {
			return err
		}
	}
	return nil
}

// signedUpstream looks for one signature of subject that does.
func (r *run) signedUpstream(ctx context.Context, img *pinnedImage, subject digest.Digest, by *manifest.SignedBy) error {
	var errs []error
	for _, ref := range img.Referrers {
		if ref.Subject != subject || !strings.HasSuffix(ref.Tag, ".sig") {
			continue
		}
		signatures, err := r.upstreamSignatures(ctx, ref)
		if err != nil {
			return err
		}
		for _, s := range signatures {
			err := sign.VerifyUpstream(ctx, s, subject, by, r.opts.TrustedRoot)
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
	}
	return &UpstreamSignatureError{Ref: img.spelled, Err: errors.Join(errs...)}
}

// upstreamSignatures reads the signatures under one of cosign's tags.
func (r *run) upstreamSignatures(ctx context.Context, ref mirror.Referrer) ([]sign.UpstreamSignature, error) {
	data, err := r.store.Read(ctx, ref.Descriptor.Digest, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading a signature: %w", err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("reading a signature: %w", err)
	}
	var out []sign.UpstreamSignature
	for _, layer := range m.Layers {
		payload, err := r.store.Read(ctx, layer.Digest, maxManifest)
		if err != nil {
			return nil, fmt.Errorf("reading a signature: %w", err)
		}
		out = append(out, sign.UpstreamSignature{Payload: payload, Annotations: layer.Annotations})
	}
	return out, nil
}
