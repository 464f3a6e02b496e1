package push

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"naru/manifest"
)

// ReasonJoined is that of a Mapping where the registry has signatures of others under
// cosign's tag, which stay beside those of the bundle.
const ReasonJoined = "signatures of others stay under the tag"

// annotationSignature holds the signature over the layer that carries it, in base64,
// see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md.
const annotationSignature = "dev.cosignproject.cosign/signature"

// signatureTag is the one tag under which cosign keeps all signatures of a digest.
var signatureTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}\.sig$`)

// joint is what is to stand under cosign's tag where the registry has others there.
type joint struct {
	// got is what the registry has under the tag.
	got digest.Digest
	// ours are the layers of the bundle's signatures, whether or not the registry has
	// them.
	ours []ocispec.Descriptor
	// held says that the registry has all of ours under the tag.
	held bool
	// data is the manifest over theirs and ours, config its configuration. Both are nil
	// when the registry has none that must stay, so that the bundle's takes the tag.
	data, config []byte
}

func descriptorOf(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// join compares the signatures of a with those that the registry has as got under the
// same tag. One of theirs need not stay that ours has as well, or that the same key made
// over the same payload. What is no signature there, or has lost what it signs, does not
// stay either: no registry would take a list with it.
func (r *run) join(ctx context.Context, a *Artifact, got digest.Digest) (*joint, error) {
	data, err := r.plan.source.readManifest(ctx, a.Descriptor)
	if err != nil {
		return nil, err
	}
	var ours, theirs ocispec.Manifest
	if err := json.Unmarshal(data, &ours); err != nil {
		return nil, &Error{Op: "parsing manifest", Digest: a.Descriptor.Digest, Side: SideSource, Err: err}
	}
	j := &joint{got: got, ours: ours.Layers}
	data, err = r.endpoint.fetchManifest(ctx, a.Repository, got)
	if status(err) == http.StatusNotFound && hasCode(err, errcode.ErrorCodeManifestUnknown) {
		return j, nil // the registry has lost it below its tag
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, &theirs) != nil {
		return j, nil
	}
	j.held = len(ours.Layers) > 0 && !slices.ContainsFunc(ours.Layers, func(l ocispec.Descriptor) bool { return !hasLayer(theirs.Layers, l) })
	if j.held {
		return j, nil
	}
	stay, err := r.staying(ctx, a, ours.Layers, theirs.Layers)
	if err != nil || len(stay) == 0 {
		return j, err
	}
	if err := j.over(append(stay, ours.Layers...)); err != nil {
		return nil, err
	}
	if len(j.data) > maxManifest { // no registry would take it
		j.data, j.config = nil, nil
	}
	return j, nil
}

// staying are those of theirs that stay beside ours.
func (r *run) staying(ctx context.Context, a *Artifact, ours, theirs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var stay []ocispec.Descriptor
	for _, l := range theirs {
		if l.Annotations[annotationSignature] == "" || l.Digest.Validate() != nil {
			continue
		}
		superseded, err := r.superseded(ctx, ours, l)
		if err != nil {
			return nil, err
		}
		if superseded {
			continue
		}
		held, err := r.endpoint.headBlob(ctx, a.Repository, l.Digest)
		if err != nil {
			return nil, err
		}
		if held || slices.ContainsFunc(ours, func(o ocispec.Descriptor) bool { return o.Digest == l.Digest }) {
			stay = append(stay, l)
		}
	}
	return stay, nil
}

// over makes the manifest over layers, in the form that cosign gives it.
func (j *joint) over(layers []ocispec.Descriptor) (err error) {
	config := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest) // they are not compressed
	}
	if j.config, err = manifest.EncodeJSON(config); err != nil {
		return fmt.Errorf("joining signatures: %w", err)
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: descriptorOf(ocispec.MediaTypeImageConfig, j.config), Layers: layers}
	m.SchemaVersion = 2
	if j.data, err = manifest.EncodeJSON(m); err != nil {
		return fmt.Errorf("joining signatures: %w", err)
	}
	return nil
}

// superseded tells whether ours says what the signature theirs says.
func (r *run) superseded(ctx context.Context, ours []ocispec.Descriptor, theirs ocispec.Descriptor) (bool, error) {
	if hasSignature(ours, theirs) {
		return true, nil
	}
	if r.plan.opts.SameSigner == nil {
		return false, nil
	}
	signature, err := base64.StdEncoding.DecodeString(theirs.Annotations[annotationSignature])
	if err != nil {
		return false, nil //nolint:nilerr // not for us to judge: it stays
	}
	for _, l := range ours {
		if l.Digest != theirs.Digest {
			continue
		}
		payload, err := r.plan.source.readManifest(ctx, l)
		if err != nil {
			return false, err
		}
		mine, err := base64.StdEncoding.DecodeString(l.Annotations[annotationSignature])
		if err == nil && r.plan.opts.SameSigner(payload, mine, signature) {
			return true, nil
		}
	}
	return false, nil
}

// hasSignature tells whether list has the signature that layer is.
func hasSignature(list []ocispec.Descriptor, layer ocispec.Descriptor) bool {
	return slices.ContainsFunc(list, func(l ocispec.Descriptor) bool {
		return l.Digest == layer.Digest && l.Annotations[annotationSignature] == layer.Annotations[annotationSignature]
	})
}

// hasLayer tells whether list has layer with all that its annotations say: a signature
// without its certificate is not the one of the bundle.
func hasLayer(list []ocispec.Descriptor, layer ocispec.Descriptor) bool {
	return slices.ContainsFunc(list, func(l ocispec.Descriptor) bool {
		return l.Digest == layer.Digest && l.Size == layer.Size && l.MediaType == layer.MediaType && maps.Equal(l.Annotations, layer.Annotations)
	})
}

// under is what stands for a and others under cosign's tag, where the registry has got;
// nil when a is no list of signatures, or the tag is free or the bundle's alone.
func (r *run) under(ctx context.Context, a *Artifact, got digest.Digest) (*joint, error) {
	if !signatureTag.MatchString(a.Tag) || got == "" || got == a.Descriptor.Digest {
		return nil, nil
	}
	if j := r.jointOf(a); j != nil && j.got == got {
		return j, nil
	}
	j, err := r.join(ctx, a, got)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joints[a] = j
	return j, nil
}

func (r *run) jointOf(a *Artifact) *joint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.joints[a]
}

// joined tells whether the registry has the signatures of a beside others, as got under
// the tag, and takes note of it.
func (r *run) joined(ctx context.Context, a *Artifact, got digest.Digest) (bool, error) {
	j, err := r.under(ctx, a, got)
	if err != nil || j == nil || !j.held {
		return false, err
	}
	r.result.skipped(a)
	r.mapped(a, ReasonJoined, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: got})
	return true, nil
}

// pushBeside pushes a where others stay under its tag, and tells whether it did. The tag
// is asked for again: a push takes long, and somebody may have signed meanwhile.
func (r *run) pushBeside(ctx context.Context, a *Artifact) (bool, error) {
	got, err := r.headManifest(ctx, a.Repository, a.Tag)
	if err != nil {
		return false, err
	}
	j, err := r.under(ctx, a, got)
	switch {
	case err != nil || j == nil:
		return false, err
	case j.held:
		if _, err := r.joined(ctx, a, got); err != nil {
			return false, err
		}
		return true, r.noteSubject(ctx, a, OutcomePresent)
	case j.data != nil:
		return true, r.pushJoint(ctx, a, j)
	}
	return false, nil
}

// pushJoint puts the signatures of a under cosign's tag beside those that stay there.
func (r *run) pushJoint(ctx context.Context, a *Artifact, j *joint) error {
	config := descriptorOf(ocispec.MediaTypeImageConfig, j.config)
	scoped := r.endpoint.scoped(ctx, a.Repository)
	err := r.endpoint.retry(scoped, "uploading blob", a.Repository, config.Digest, func() error {
		return redactError(r.endpoint.repository(a.Repository).Blobs().Push(scoped, config, bytes.NewReader(j.config)))
	})
	if err != nil {
		return err
	}
	m := &Manifest{Descriptor: descriptorOf(ocispec.MediaTypeImageManifest, j.data)}
	for _, l := range j.ours {
		m.Blobs = append(m.Blobs, plainDescriptor(l))
	}
	m.Blobs = uniqueDescriptors(m.Blobs)
	if err := r.pushBlobs(ctx, a.Repository, []*Manifest{m}); err != nil {
		return err
	}
	if err := r.putManifest(ctx, a, m, j.data, a.Tag); err != nil {
		return err
	}
	r.mu.Lock()
	r.joints[a] = &joint{ours: j.ours, held: true, got: m.Descriptor.Digest}
	r.mu.Unlock()
	r.mapped(a, ReasonJoined, m.Descriptor)
	return r.noteSubject(ctx, a, OutcomeMapped)
}

// joint compares signatures that stand beside others with what the registry has.
func (c *checker) joint(ctx context.Context, a *Artifact, j *joint) error {
	if j == nil {
		return nil
	}
	c.note(func(r *Report) {
		r.Checked++
		r.Mappings = append(r.Mappings, Mapping{
			Ref: a.Ref, Target: c.run.plan.name(a), Original: a.Descriptor.Digest, Pushed: j.got, Reason: ReasonJoined,
		})
	})
	c.compared(a, a.root(), true)
	return c.blobs(ctx, a, j.ours)
}
