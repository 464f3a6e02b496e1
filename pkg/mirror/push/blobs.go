package push

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mountTries is after how many refusals, without one success, mounting is given
// up for the registry.
const mountTries = 3

// maxClaim bounds the blobs that are claimed, in bytes: a registry that never mounts
// is sent what it has, and that should cost no more than a question.
const maxClaim = 256 << 10

// blobs knows which repository holds which blob, and brings each into the
// registry once.
type blobs struct {
	plan     *Plan
	endpoint *endpoint
	uploader *uploader
	result   *collector
	heard    *heard
	// slots bounds open sources.
	slots chan struct{}

	mu     sync.Mutex
	states map[digest.Digest]*blobState
	// mounts counts successes, refusals likewise.
	mounts, refusals int
	// claimRefused says that the registry does not mount a blob where it is.
	claimRefused bool
}

// blobState is what is known of one blob; its fields are guarded by blobs.mu.
type blobState struct {
	// turn is held by whoever works on the blob.
	turn chan struct{}
	// in are the repositories that hold it.
	in map[string]bool
	// holder is one of them, "" if there is none.
	holder string
	// doubted says that a mount of it was not believed by a manifest.
	doubted bool
}

func newBlobs(p *Plan, e *endpoint, result *collector, heard *heard) *blobs {
	return &blobs{
		plan: p, endpoint: e, result: result, heard: heard,
		uploader: &uploader{endpoint: e, source: p.source, chunk: p.opts.ChunkSize, onBytes: func(n int64) {
			result.sent(n)
			p.opts.OnBytes(n)
		}},
		slots:  make(chan struct{}, p.opts.Jobs),
		states: map[digest.Digest]*blobState{},
	}
}

// state of a blob; b.mu is held.
func (b *blobs) state(d digest.Digest) *blobState {
	s := b.states[d]
	if s == nil {
		s = &blobState{turn: make(chan struct{}, 1), in: map[string]bool{}}
		b.states[d] = s
	}
	return s
}

// mark notes that a repository holds a blob.
func (b *blobs) mark(repository string, d digest.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state(d)
	s.in[repository] = true
	if s.holder == "" {
		s.holder = repository
	}
}

// doubt forgets that a repository holds the blobs: it said otherwise.
func (b *blobs) doubt(repository string, list []ocispec.Descriptor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, desc := range list {
		b.heard.noteBlob(repository, desc.Digest, false)
		s := b.state(desc.Digest)
		delete(s.in, repository)
		if s.holder == repository {
			s.holder = ""
		}
		s.doubted = true
	}
}

func (b *blobs) holds(repository string, d digest.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state(d).in[repository]
}

// ensure brings a blob into a repository, by mounting it where another
// repository has it. Work on one blob is done by one caller at a time.
func (b *blobs) ensure(ctx context.Context, repository string, desc ocispec.Descriptor) error {
	if b.holds(repository, desc.Digest) {
		return nil
	}
	b.mu.Lock()
	turn := b.state(desc.Digest).turn
	b.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return destinationError("waiting for blob", repository, desc.Digest, ctx.Err())
	}
	if b.holds(repository, desc.Digest) {
		return nil
	}
	if from := b.holder(repository, desc.Digest); from != "" {
		return b.mount(ctx, repository, from, desc)
	}
	home := b.home(repository, desc.Digest)
	if b.claims(desc) {
		if err := b.claim(ctx, home, desc); err != nil || home == repository {
			return err
		}
		return b.mount(ctx, repository, home, desc)
	}
	if held, err := b.probe(ctx, repository, desc); held || err != nil {
		return err
	}
	if home == repository {
		return b.upload(ctx, repository, desc, nil)
	}
	held, err := b.probe(ctx, home, desc)
	if err != nil {
		return err
	}
	if !held {
		if err := b.upload(ctx, home, desc, nil); err != nil {
			return err
		}
	}
	return b.mount(ctx, repository, home, desc)
}

// claims tells whether a blob is one to be claimed, and the registry one where that is
// worth a try.
func (b *blobs) claims(desc ocispec.Descriptor) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state(desc.Digest)
	return desc.Size <= maxClaim && !s.doubted && !b.claimRefused && (b.mounts > 0 || b.refusals < mountTries)
}

// claim brings a blob into a repository with one question less: it asks for the blob
// to be mounted from where it is to be. The registry mounts what it has, and begins an
// upload of what it has not.
func (b *blobs) claim(ctx context.Context, repository string, desc ocispec.Descriptor) error {
	mounted, session, err := b.uploader.mount(ctx, repository, repository, desc.Digest)
	switch {
	case err != nil:
		return err
	case mounted:
		b.done(repository, desc, OutcomePresent, "")
		return nil
	case session == nil:
		b.mu.Lock()
		b.claimRefused = true
		b.refusals++
		b.mu.Unlock()
		if held, err := b.probe(ctx, repository, desc); held || err != nil {
			return err
		}
	}
	return b.upload(ctx, repository, desc, session)
}

// holder is a repository to mount from, "" when there is none or mounting is
// not worth a try.
func (b *blobs) holder(repository string, d digest.Digest) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state(d)
	if s.doubted || b.mounts == 0 && b.refusals >= mountTries || s.holder == repository {
		return ""
	}
	return s.holder
}

// home is where a blob is uploaded: the first repository of the plan that has
// it, so that an interrupted run finds it again, or the asking one where the
// registry does not mount.
func (b *blobs) home(repository string, d digest.Digest) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state(d).doubted || b.mounts == 0 && b.refusals >= mountTries {
		return repository
	}
	return b.plan.homes[d]
}

// probe asks whether a repository has the blob already.
func (b *blobs) probe(ctx context.Context, repository string, desc ocispec.Descriptor) (bool, error) {
	held, err := b.endpoint.headBlob(ctx, repository, desc.Digest)
	if held {
		b.done(repository, desc, OutcomePresent, "")
		b.heard.noteBlob(repository, desc.Digest, true)
	}
	return held, err
}

// mount takes the blob from another repository. Where the registry does not
// mount, the blob is uploaded, if it is not there anyhow: some registries keep
// one set of blobs for all repositories.
func (b *blobs) mount(ctx context.Context, repository, from string, desc ocispec.Descriptor) error {
	mounted, session, err := b.uploader.mount(ctx, repository, from, desc.Digest)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if mounted {
		b.mounts++
	} else {
		b.refusals++
	}
	b.mu.Unlock()
	if mounted {
		b.done(repository, desc, OutcomeMounted, from)
		return nil
	}
	if held, err := b.probe(ctx, repository, desc); held || err != nil {
		return err
	}
	return b.upload(ctx, repository, desc, session)
}

func (b *blobs) upload(ctx context.Context, repository string, desc ocispec.Descriptor, s *session) error {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return destinationError("uploading blob", repository, desc.Digest, ctx.Err())
	}
	if err := b.uploader.upload(ctx, repository, desc, s); err != nil {
		return err
	}
	b.done(repository, desc, OutcomePushed, "")
	return nil
}

// done notes and reports that a repository holds the blob.
func (b *blobs) done(repository string, desc ocispec.Descriptor, outcome Outcome, from string) {
	b.mark(repository, desc.Digest)
	b.result.blob(outcome, desc.Size)
	b.plan.opts.OnBlob(BlobEvent{Repository: repository, Descriptor: desc, Outcome: outcome, From: from})
}
