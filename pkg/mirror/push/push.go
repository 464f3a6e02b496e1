package push

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Content is what is pushed: an opened bundle. Implementations are safe for
// concurrent use.
type Content interface {
	// Index lists the top-level manifests; each carries its full reference in
	// the annotation org.opencontainers.image.ref.name.
	Index() ocispec.Index
	// OpenBlob opens content by digest; the error wraps [io/fs.ErrNotExist] when
	// the bundle does not hold it. What is read is verified: a sequential read of
	// everything fails before its last chunk when the bytes are wrong.
	OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error)
}

// Target is the registry to push to.
type Target struct {
	// Client sends requests: it authenticates, by the scopes that oras-go leaves
	// in the context, and keeps connections alive. Retrying is welcome but not
	// required of it.
	Client remote.Client
	// Base is "host[:port][/prefix]"; all repositories lie below it.
	Base string
	// PlainHTTP talks to the registry without TLS.
	PlainHTTP bool
}

// Defaults of Options.
const (
	DefaultJobs      = 8
	DefaultImageJobs = 8
	DefaultChunkSize = 64 << 20
	DefaultAttempts  = 6
)

// Options tunes a push. The callbacks are called from many goroutines.
type Options struct {
	// Jobs bounds concurrent requests and uploads; 0 means DefaultJobs. The push
	// goes below it while the registry shows that it cannot keep up.
	Jobs int
	// ImageJobs bounds how many artifacts are worked on at a time; 0 means
	// DefaultImageJobs.
	ImageJobs int
	// ChunkSize in bytes: larger blobs go up in chunks of this size, each of
	// which can be resumed; 0 means DefaultChunkSize.
	ChunkSize int64
	// Attempts bounds how often an operation is tried without progress; 0 means
	// DefaultAttempts.
	Attempts int
	// SparseIndexes says whether the registry takes indexes of which children are
	// absent; by default that is found out by trying.
	SparseIndexes Sparse
	// Filter, when set, chooses artifacts by reference and index entry.
	// Referrers are not asked for: they follow their subject.
	Filter func(ref string, desc ocispec.Descriptor) bool
	// SameSigner tells whether one trusted key made both signatures over a payload, in
	// which case the bundle's takes the place of the registry's. Without it every
	// signature that the registry has under cosign's tag stays there.
	SameSigner func(payload, a, b []byte) bool

	// OnBytes is told of bytes of blobs sent for the first time, OnBlob of blobs
	// that the registry now holds, OnManifest of manifests likewise, OnRetry of
	// each wait before another attempt.
	OnBytes    func(n int64)
	OnBlob     func(BlobEvent)
	OnManifest func(ManifestEvent)
	OnRetry    func(RetryEvent)
}

func (o Options) withDefaults() Options {
	if o.Jobs <= 0 {
		o.Jobs = DefaultJobs
	}
	if o.ImageJobs <= 0 {
		o.ImageJobs = DefaultImageJobs
	}
	if o.ChunkSize <= 0 {
		o.ChunkSize = DefaultChunkSize
	}
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.OnBytes == nil {
		o.OnBytes = func(int64) {}
	}
	if o.OnBlob == nil {
		o.OnBlob = func(BlobEvent) {}
	}
	if o.OnManifest == nil {
		o.OnManifest = func(ManifestEvent) {}
	}
	if o.OnRetry == nil {
		o.OnRetry = func(RetryEvent) {}
	}
	return o
}

// Sparse is what is known of a registry and sparse indexes.
type Sparse string

// What can be known; the zero value is nothing.
const (
	// SparseRefused is a registry that wants every child of an index. Not to try
	// matters where tags are immutable: such a registry refuses to set a tag anew
	// before it looks at what it would be set to.
	SparseRefused Sparse = "refused"
)

// Outcome says how something came to be in the registry.
type Outcome string

// The outcomes. A manifest is mapped when another took its place under the tag.
const (
	OutcomePushed  Outcome = "pushed"
	OutcomeMounted Outcome = "mounted"
	OutcomePresent Outcome = "present"
	OutcomeMapped  Outcome = "mapped"
	OutcomeRefused Outcome = "refused"
)

// BlobEvent reports a blob that a repository now holds.
type BlobEvent struct {
	Repository string
	Descriptor ocispec.Descriptor
	Outcome    Outcome
	// From is the repository a blob was mounted from.
	From string
}

// ManifestEvent reports a manifest that a repository now holds, or refused.
type ManifestEvent struct {
	// Ref is the reference of the artifact in the bundle.
	Ref        string
	Repository string
	// Tag is empty for a manifest pushed by digest.
	Tag        string
	Descriptor ocispec.Descriptor
	Outcome    Outcome
}

// RetryEvent reports that an operation is tried again.
type RetryEvent struct {
	Op         string
	Repository string
	Digest     digest.Digest
	Attempt    int // counts from 1
	Err        error
}
