package build

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/internal/atomicfile"
	"naru/internal/cache"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/sign/attest"
	"naru/pkg/sign/verify"
)

// message is something to sign about a subject: that it is ours, or what is in it and
// known of it.
type message struct {
	subject *subject
	// predicateType is empty for a signature.
	predicateType string
	// text is the payload of a signature, or the statement of an attestation.
	text []byte
	// signature over signed() is set by attest.
	signature []byte
}

// signed are the bytes that the key signs.
func (m *message) signed() []byte {
	if m.predicateType == "" {
		return m.text
	}
	return verify.PreAuthentication(verify.PayloadType, m.text)
}

// attest makes signatures/: a signature of every manifest, and of everything scanned
// an attestation of its SBOM and of its findings. A signature that an earlier run made
// over the same bytes is taken from the cache, so that a run with nothing new asks for
// no password and what did not change is not signed anew.
func (r *run) attest(ctx context.Context, bundle digest.Digest) ([]archive.File, error) {
	if r.opts.Signer == nil {
		return nil, nil
	}
	subjects, err := r.subjects(ctx, r.content())
	if err != nil {
		return nil, err
	}
	messages, err := r.messages(subjects)
	if err != nil {
		return nil, err
	}
	key, err := r.signingKey(ctx)
	if err != nil {
		return nil, err
	}
	if !r.recallSignatures(key, messages) {
		release := r.opts.Progress.Hold() // a password may be asked for
		key, err = r.loadedKey(ctx)
		release()
		if err != nil {
			return nil, err
		}
		r.recallSignatures(key, messages) // the public key beside the private one may be another's
		if err := r.signMessages(ctx, key, messages); err != nil {
			return nil, err
		}
	}
	return r.signatureFiles(ctx, bundle, key, messages)
}

// loadedKey is the public half of the key that signs.
func (r *run) loadedKey(ctx context.Context) (verify.Key, error) {
	pem, err := r.opts.Signer.PublicKeyPEM(ctx)
	if err != nil {
		return verify.Key{}, err
	}
	return verify.ParseKey(publicKeyName, pem)
}

// messages are all that is to be signed.
func (r *run) messages(subjects []*subject) ([]*message, error) {
	var out []*message
	bySubject := map[digest.Digest]*subject{}
	for _, s := range subjects {
		bySubject[s.Digest] = s
		payload, err := attest.Payload(s.names[0], s.Digest)
		if err != nil {
			return nil, err
		}
		out = append(out, &message{subject: s, text: payload})
	}
	if r.survey == nil {
		return out, nil
	}
	documents := map[string][]byte{}
	for _, f := range r.survey.Files {
		documents[f.Name] = f.Data
	}
	seen := map[digest.Digest]bool{}
	for i := range r.survey.Report.Artifacts {
		a := &r.survey.Report.Artifacts[i]
		s := bySubject[a.Digest]
		if s == nil || seen[a.Digest] {
			continue
		}
		seen[a.Digest] = true
		findings, err := r.vulnerabilityPredicate(a)
		if err != nil {
			return nil, err
		}
		for _, p := range []struct {
			kind string
			data []byte
		}{{verify.PredicateCycloneDX, documents[a.SBOM]}, {verify.PredicateVulnerability, findings}} {
			text, err := attest.Statement(s.names[0], s.Digest, p.kind, bytes.TrimSpace(p.data))
			if err != nil {
				return nil, err
			}
			out = append(out, &message{subject: s, predicateType: p.kind, text: text})
		}
	}
	return out, nil
}

// vulnerabilityPredicate is what was found in an artifact, in cosign's form. Its dates
// are that of the database, on which the findings depend.
func (r *run) vulnerabilityPredicate(a *manifest.ScannedArtifact) ([]byte, error) {
	report := r.survey.Report
	summary := report.Summary()
	_, version, _ := strings.Cut(report.Scanner, " ")
	var p struct {
		Invocation struct {
			Parameters any    `json:"parameters"`
			URI        string `json:"uri"`
			EventID    string `json:"event_id"`
			BuilderID  string `json:"builder.id"`
		} `json:"invocation"`
		Scanner struct {
			URI      string `json:"uri"`
			Version  string `json:"version"`
			Database struct {
				URI     string `json:"uri"`
				Version string `json:"version"`
			} `json:"db"`
			Result *manifest.ScannedArtifact `json:"result"`
		} `json:"scanner"`
		Metadata struct {
			Started  string `json:"scanStartedOn"`
			Finished string `json:"scanFinishedOn"`
		} `json:"metadata"`
	}
	p.Scanner.URI, p.Scanner.Version = "pkg:golang/github.com/aquasecurity/trivy@v"+version, version
	p.Scanner.Database.URI, p.Scanner.Database.Version = summary.Database.String(), summary.DatabaseDate
	p.Scanner.Result = a
	p.Metadata.Started, p.Metadata.Finished = summary.DatabaseDate, summary.DatabaseDate
	return manifest.EncodeJSON(p)
}

// signaturePath is where the signature by a key over a message is kept.
func (r *run) signaturePath(key verify.Key, m *message) string {
	sum := sha256.Sum256(m.signed())
	name := hex.EncodeToString(sum[:])
	return filepath.Join(cache.SignaturesDir(r.opts.CacheDir), key.Fingerprint(), name[:2], name)
}

// recallSignatures takes signatures from the cache and tells whether that was all. One
// that does not hold is as good as none.
func (r *run) recallSignatures(key verify.Key, messages []*message) bool {
	ring, all := verify.NewKeyring(key), true
	for _, m := range messages {
		m.signature = nil
		data, err := os.ReadFile(r.signaturePath(key, m))
		if err == nil {
			_, err = ring.VerifyFile(bytes.NewReader(m.signed()), data)
		}
		if err != nil {
			all = false
			continue
		}
		m.signature = data
		now := time.Now()
		_ = os.Chtimes(r.signaturePath(key, m), now, now) // a use, for who prunes the cache by age; pruned, it is made anew
	}
	return all
}

// signMessages signs what has no signature yet and keeps it.
func (r *run) signMessages(ctx context.Context, key verify.Key, messages []*message) error {
	r.opts.Progress.Start("sign", 0)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Jobs)
	for _, m := range messages {
		if m.signature != nil {
			continue
		}
		group.Go(func() error {
			signature, err := r.opts.Signer.SignDetached(gctx, m.signed())
			if err != nil {
				return fmt.Errorf("signing %s: %w", m.subject.Digest, err)
			}
			m.signature = signature
			path := r.signaturePath(key, m)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("keeping a signature: %w", err)
			}
			return atomicfile.Write(path, signature, 0o600)
		})
	}
	return group.Wait()
}

// signatureFiles are the files of signatures/: blobs by digest, and their index.
func (r *run) signatureFiles(ctx context.Context, bundle digest.Digest, key verify.Key, messages []*message) ([]archive.File, error) {
	index := manifest.Signatures{APIVersion: manifest.APIVersion, Kind: manifest.KindSignatures, Bundle: bundle}
	blobs := map[digest.Digest][]byte{}
	theirs := r.theirSignatures()
	for _, m := range messages {
		for _, name := range m.subject.names {
			upstream, signed := theirs[name+":"+attest.SignatureTag(m.subject.Digest)]
			a, err := r.artifact(ctx, m, key, upstream, signed && m.predicateType == "")
			if err != nil {
				return nil, err
			}
			for _, b := range append(a.Blobs, a.Manifest) {
				blobs[b.Digest] = b.Data
			}
			ref := name + "@" + a.Manifest.Digest.String()
			if a.Tag != "" {
				ref = name + ":" + a.Tag
			}
			index.Manifests = append(index.Manifests, entry(a.Manifest.Descriptor, ref, manifest.ArtifactReferrer, a.Subject.String()))
			if a.Tag != "" && signed { // stays to be had by its digest
				index.Manifests = append(index.Manifests, entry(upstream, name+"@"+upstream.Digest.String(), manifest.ArtifactReferrer, a.Subject.String()))
			}
		}
	}
	slices.SortFunc(index.Manifests, func(a, b ocispec.Descriptor) int {
		return cmp.Compare(a.Annotations[ocispec.AnnotationRefName], b.Annotations[ocispec.AnnotationRefName])
	})
	data, err := index.Encode()
	if err != nil {
		return nil, err
	}
	files := []archive.File{{Name: manifest.SignaturesIndexName, Data: data}}
	for d, blob := range blobs {
		files = append(files, archive.File{Name: manifest.SignatureBlobName(d), Data: blob})
	}
	slices.SortFunc(files, func(a, b archive.File) int { return cmp.Compare(a.Name, b.Name) })
	return files, nil
}

// theirSignatures are the signatures under cosign's tags that come along, by reference.
func (r *run) theirSignatures() map[string]ocispec.Descriptor {
	out := map[string]ocispec.Descriptor{}
	for _, d := range r.index().Manifests {
		if d.Annotations[manifest.AnnotationSubject] != "" {
			out[d.Annotations[ocispec.AnnotationRefName]] = d
		}
	}
	return out
}

// artifact puts the signature of a message in its place, beside those of upstream if
// there are some.
func (r *run) artifact(ctx context.Context, m *message, key verify.Key, upstream ocispec.Descriptor, signed bool) (*attest.Artifact, error) {
	if m.predicateType != "" {
		return attest.Attestation(m.text, m.signature, key, m.subject.Descriptor, m.predicateType)
	}
	var others ocispec.Manifest
	if signed {
		data, err := r.store.Read(ctx, upstream.Digest, maxManifest)
		if err != nil {
			return nil, fmt.Errorf("reading the signature of %s: %w", m.subject.Digest, err)
		}
		if err := json.Unmarshal(data, &others); err != nil {
			return nil, fmt.Errorf("reading the signature of %s: %w", m.subject.Digest, err)
		}
	}
	return attest.Signature(m.text, m.signature, m.subject.Digest, others.Layers)
}
