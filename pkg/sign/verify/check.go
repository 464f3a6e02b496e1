package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// checkBuffer is how much of a file is read at a time, one buffer a job.
const checkBuffer = 1 << 20

// CheckOptions tune CheckSums. The zero value will do.
type CheckOptions struct {
	// Jobs is how many files are read at a time; one a processor if zero.
	Jobs int
	// Read, if set, is told after each piece how many more bytes were read, from
	// several goroutines at a time.
	Read func(n int)
}

// OpenSums reads SHA256SUMS and SHA256SUMS.sig of a folder and returns what is
// listed and the key that signed it. Nothing is returned that is not signed.
// Errors: those of VerifyFile and ParseSums, and fs.ErrNotExist for either file.
func (k *Keyring) OpenSums(dir string) ([]Sum, Key, error) {
	data, err := readFile(filepath.Join(dir, SumsName), MaxSumsSize)
	if err != nil {
		return nil, Key{}, fmt.Errorf("reading %s: %w", SumsName, err)
	}
	signature, err := readFile(filepath.Join(dir, SumsSignatureName), MaxDetachedSize)
	if err != nil {
		return nil, Key{}, fmt.Errorf("reading the signature of %s: %w", SumsName, err)
	}
	key, err := k.VerifyFile(bytes.NewReader(data), signature)
	if err != nil {
		return nil, Key{}, err
	}
	sums, err := ParseSums(data)
	if err != nil {
		return nil, Key{}, err
	}
	return sums, key, nil
}

// CheckSums reads every listed file and compares its SHA-256. A file is looked for
// in each of dirs (the volumes of a bundle may lie on several media); it has to be
// in one of them, and every copy has to be right. Symbolic links in a listed path
// are followed. All files that are wrong are reported, in the order of the list, in
// one *SumsError; a list of nothing, or with a name
// that leaves the folder, is a *MalformedError. Memory is one buffer of
// 1 MiB a job.
func CheckSums(ctx context.Context, dirs []string, sums []Sum, o CheckOptions) error {
	if len(sums) == 0 {
		return &MalformedError{What: SumsName, Err: errors.New("it lists nothing")}
	}
	for _, s := range sums {
		if err := checkSumName(s.Name); err != nil {
			return &MalformedError{What: SumsName, Err: err}
		}
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	c := checker{dirs: dirs, options: o, buffers: sync.Pool{New: func() any { return new([checkBuffer]byte) }}}
	found := make([]*FileError, len(sums))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for i, s := range sums {
		group.Go(func() error {
			found[i] = c.check(ctx, s)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("checking %s: %w", SumsName, err)
	}
	result := &SumsError{Total: len(sums)}
	for _, f := range found {
		if f != nil {
			result.Files = append(result.Files, f)
		}
	}
	if len(result.Files) > 0 {
		return result
	}
	return nil
}

// checker is one run of CheckSums.
type checker struct {
	dirs    []string
	options CheckOptions
	buffers sync.Pool
}

// check returns what is wrong with one file, nil if nothing is.
func (c *checker) check(ctx context.Context, s Sum) *FileError {
	copies := 0
	for _, dir := range c.dirs {
		got, err := c.hash(ctx, filepath.Join(dir, filepath.FromSlash(s.Name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return &FileError{Name: s.Name, Want: s.Digest, Err: err}
		case got != s.Digest:
			return &FileError{Name: s.Name, Want: s.Digest, Got: got, Err: ErrMismatch}
		}
		copies++
	}
	if copies == 0 {
		return &FileError{Name: s.Name, Want: s.Digest, Err: fs.ErrNotExist}
	}
	return nil
}

// hash reads one regular file; a pipe or device could block for ever.
func (c *checker) hash(ctx context.Context, path string) (_ digest.Digest, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := c.buffers.Get().(*[checkBuffer]byte)
	defer c.buffers.Put(buf)
	hash := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf[:])
		_, _ = hash.Write(buf[:n]) // a hash never fails
		if c.options.Read != nil && n > 0 {
			c.options.Read(n)
		}
		if errors.Is(err, io.EOF) {
			return digest.NewDigestFromBytes(digest.SHA256, hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
