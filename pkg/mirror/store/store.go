package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	dirMode  = 0o700
	fileMode = 0o600

	ingestDir  = "ingest"
	encodedDir = "encoded"
	lockName   = "lock"

	tmpPrefix  = "tmp-"
	lockSuffix = ".lock"
	sumSuffix  = ".sum"
	zstSuffix  = ".zst"
	rawSuffix  = ".raw"
)

// bufferSize, in bytes, is that of the buffers between network, hash and disk.
const bufferSize = 128 << 10

// Options tune a store. The zero value is good.
type Options struct {
	// Temporary tells whether an error of a fetch may pass; nil asks the error itself
	// (see [IsTemporary]). Errors inside a body always may.
	Temporary func(error) bool
	// Stalls is how many fetches in a row may bring nothing new before an ingestion
	// gives up; 0 means 4.
	Stalls int
	// StallWait is the wait before the first fetch after one that brought nothing; it
	// doubles with each. 0 means 250 ms.
	StallWait time.Duration
	// Encoder names what makes the packed forms, by a name that changes when its
	// output does: forms of another encoder are not seen. It is an element of paths.
	Encoder string
	// Alone has the folder for this Store alone, which pruning needs: while anybody
	// else has it open, opening fails with ErrBusy.
	Alone bool
}

// Store is a folder of blobs. It is safe for concurrent use.
type Store struct {
	dir     string
	opts    Options
	lock    *os.File // held shared, or alone
	buffers sync.Pool
	dirty   atomic.Bool // something was renamed since the last Sync
	closed  atomic.Bool

	mu    sync.Mutex
	fresh map[digest.Digest]struct{}
	calls map[string]*call
}

// Open opens the store in dir and makes it if there is none.
func Open(dir string) (*Store, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with options.
func OpenWith(dir string, opts Options) (*Store, error) {
	if opts.Temporary == nil {
		opts.Temporary = IsTemporary
	}
	if opts.Stalls <= 0 {
		opts.Stalls = 4
	}
	if opts.StallWait <= 0 {
		opts.StallWait = 250 * time.Millisecond
	}
	s := &Store{dir: dir, opts: opts, fresh: map[digest.Digest]struct{}{}, calls: map[string]*call{}}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("opening the store %q: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open() error {
	for _, dir := range []string{s.blobDir(), filepath.Join(s.dir, ingestDir), filepath.Join(s.dir, encodedDir)} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return err
		}
	}
	f, err := openFolder(s.dir)
	if err != nil {
		return err
	}
	if err := s.prepare(f); err != nil {
		return errors.Join(err, f.Close())
	}
	s.lock = f
	return nil
}

// prepare takes a share of the folder's lock f, or all of it, and writes the files of the layout.
// When nobody else has the store open, it removes what killed processes left behind.
func (s *Store) prepare(f *os.File) error {
	alone, err := tryLock(f, exclusive)
	if err != nil {
		return err
	}
	if s.opts.Alone && !alone {
		return ErrBusy
	}
	if alone {
		if err := sweep(filepath.Join(s.dir, ingestDir)); err != nil {
			return err
		}
	}
	if !s.opts.Alone {
		if err := shareInstead(f, alone); err != nil {
			return err
		}
	}
	layout := ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}
	if err := s.ensureJSON(ocispec.ImageLayoutFile, layout); err != nil {
		return err
	}
	return s.ensureJSON(ocispec.ImageIndexFile, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	})
}

// sweep removes temporary and lock files that nobody can be using.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) || strings.HasSuffix(e.Name(), lockSuffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// ensureJSON writes a file of the layout unless it is there.
func (s *Store) ensureJSON(name string, v any) error {
	path := filepath.Join(s.dir, name)
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.writeFile(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Dir is the folder of the store.
func (s *Store) Dir() string { return s.dir }

// Close syncs what Sync has not and lets go of the folder. Calls that are under way
// must have returned. A second Close does nothing.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.Sync(), s.lock.Close())
}

// Sync makes durable that the blobs and packed forms written so far are there.
// Their content is durable already. It costs next to nothing when nothing is new.
func (s *Store) Sync() error {
	if !s.dirty.Swap(false) {
		return nil
	}
	for _, dir := range []string{s.blobDir(), filepath.Join(s.dir, encodedDir)} {
		if err := syncDir(dir); err != nil {
			s.dirty.Store(true)
			return fmt.Errorf("syncing the store %q: %w", s.dir, err)
		}
	}
	return nil
}

// FreeSpace is what this process may still write into the store, in bytes.
func (s *Store) FreeSpace() (int64, error) {
	n, err := freeSpace(s.dir)
	if err != nil {
		return 0, fmt.Errorf("reading the free space of %q: %w", s.dir, err)
	}
	return n, nil
}

// Has tells whether the blob d is in the store and has size bytes; a negative size
// stands for any.
func (s *Store) Has(d digest.Digest, size int64) bool {
	got, ok := s.Size(d)
	return ok && (size < 0 || got == size)
}

// Size is the size of the blob d in bytes, and whether the store has it.
func (s *Store) Size(d digest.Digest) (int64, bool) {
	if checkDigest(d) != nil {
		return 0, false
	}
	info, err := os.Lstat(s.blobPath(d))
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// Fresh tells whether this process has hashed the blob d: it ingested, put, read or
// verified it. Of other blobs it is only known that somebody did, once.
func (s *Store) Fresh(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.fresh[d]
	return ok
}

func (s *Store) setFresh(d digest.Digest, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.fresh[d] = struct{}{}
	} else {
		delete(s.fresh, d)
	}
}

func (s *Store) blobDir() string {
	return filepath.Join(s.dir, ocispec.ImageBlobsDir, string(digest.SHA256))
}

// blobPath needs a digest that checkDigest accepts, as encodedPath does.
func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.blobDir(), d.Encoded())
}

func (s *Store) ingestPath(name string) string {
	return filepath.Join(s.dir, ingestDir, name)
}

// checkDigest keeps anything out of paths that is not 64 hexadecimal digits.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: %w", string(d), ErrUnsupportedDigest)
	}
	return nil
}

// OpenBlob opens the blob d; the error wraps fs.ErrNotExist where the store has
// none. Reading obeys ctx. The content is not hashed on the way: see [Store.Fresh].
func (s *Store) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	b, err := s.openBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) openBlob(ctx context.Context, d digest.Digest) (*blobFile, error) {
	if err := checkDigest(d); err != nil {
		return nil, fmt.Errorf("opening a blob: %w", err)
	}
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", d, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening blob %s: %w", d, err), f.Close())
	}
	return &blobFile{ctx: ctx, f: f, info: info}, nil
}

// blobFile reads a blob for as long as the context it was opened with lasts.
type blobFile struct {
	ctx  context.Context
	f    *os.File
	info fs.FileInfo // as it was opened
}

func (b *blobFile) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.f.Read(p)
}

// ReadAt makes blobs random access for who encodes or unpacks them.
func (b *blobFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.f.ReadAt(p, offset)
}

func (b *blobFile) Seek(offset int64, whence int) (int64, error) { return b.f.Seek(offset, whence) }
func (b *blobFile) Close() error                                 { return b.f.Close() }
