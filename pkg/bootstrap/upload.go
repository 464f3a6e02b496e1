package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// File is a file that a host should have, owned by root.
type File struct {
	Path string
	// Mode is octal, "0644".
	Mode string
	// Content, or Open with SHA256 (hex) where it is large.
	Content []byte
	Open    func(context.Context) (io.ReadCloser, error)
	SHA256  string
}

// DigestError is a file that did not arrive whole on a host. Nothing of it is kept.
type DigestError struct{ Host, Path string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: writing %q: what arrived does not have the digest of what was sent", e.Host, e.Path)
}

// exitDigest is the code with which putScript says that the digest is wrong.
const exitDigest = 97

// putScript writes standard input to $1 with mode $2 when its digest is $3: beside
// it first, synced, then renamed over it.
const putScript = `umask 077
d=${1%/*}
[ -d "$d" ] || install -d -m 0755 "$d"
t=$(mktemp "$d/.naru.XXXXXX")
trap 'rm -f "$t"' EXIT HUP INT TERM
cat >"$t"
s=$(sha256sum <"$t")
[ "${s%% *}" = "$3" ] || exit 97
chmod "$2" "$t"
sync "$t"
mv -f "$t" "$1"
trap - EXIT
sync "$d"`

// Put writes one file, whole or not at all.
func (h *Host) Put(ctx context.Context, f File) (err error) {
	sum := f.sum()
	var src io.Reader = bytes.NewReader(f.Content)
	if f.Open != nil {
		rc, err := f.Open(ctx)
		if err != nil {
			return fmt.Errorf("%s: writing %q: %w", h.Name, f.Path, err)
		}
		defer func() { err = errors.Join(err, rc.Close()) }()
		src = rc
	}
	broken := &sourceReader{r: src}
	_, err = h.Runner.Run(ctx, Command{Argv: shell(putScript, f.Path, f.Mode, sum), Stdin: broken, Secret: true})
	if berr := broken.failure(); berr != nil {
		return fmt.Errorf("%s: writing %q: %w", h.Name, f.Path, berr)
	}
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code == exitDigest {
		return &DigestError{Host: h.Name, Path: f.Path}
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", f.Path, err)
	}
	return nil
}

// sourceReader keeps the error of a source that broke off; the far side then sees
// a file cut short, whose digest is wrong.
type sourceReader struct {
	r   io.Reader
	mu  sync.Mutex // a read may go on when the command has ended
	err error
}

func (s *sourceReader) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		return n, io.EOF
	}
	return n, err
}

func (f *File) sum() string {
	if f.Open != nil {
		return f.SHA256
	}
	s := sha256.Sum256(f.Content)
	return hex.EncodeToString(s[:])
}

// differScript prints the paths, given as triples of path, mode and digest, whose
// file is not that. What a large file was hashed to is remembered beside its size,
// inode, and times of its content and of its inode to the nanosecond: whoever writes
// to it changes the latter.
const differScript = `c=/var/lib/naru/sums
while [ $# -ge 3 ]; do
  ok=no
  if [ -f "$1" ] && [ "$(stat -c %a "$1")" = "$2" ]; then
    id="$3 $(stat -c '%s %i %y %z %n' "$1")"
    if [ "$(stat -c %s "$1")" -gt 1000000 ] && grep -qxF -- "$id" "$c" 2>/dev/null; then
      ok=yes
    else
      s=$(sha256sum <"$1")
      if [ "${s%% *}" = "$3" ]; then
        ok=yes
        if [ "$(stat -c %s "$1")" -gt 1000000 ] && [ -w "${c%/*}" ]; then
          { grep -vF -- " $1" "$c" 2>/dev/null || true; printf '%s\n' "$id"; } >"$c.$$" && mv -f "$c.$$" "$c"
        fi
      fi
    fi
  fi
  [ $ok = yes ] || printf '%s\n' "$1"
  shift 3
done`

// Differ are those of the files that the host does not have as they should be.
// One round trip.
func (h *Host) Differ(ctx context.Context, files []File) ([]File, error) {
	if len(files) == 0 {
		return nil, nil
	}
	var args []string
	for _, f := range files {
		args = append(args, f.Path, strings.TrimLeft(f.Mode, "0"), f.sum())
	}
	out, err := h.Script(ctx, differScript, args...)
	if err != nil {
		return nil, err
	}
	differs := map[string]bool{}
	for _, p := range strings.Split(out, "\n") {
		differs[p] = true
	}
	var list []File
	for _, f := range files {
		if differs[f.Path] {
			list = append(list, f)
		}
	}
	return list, nil
}

// Ensure writes those of the files that differ and tells which they were.
func (h *Host) Ensure(ctx context.Context, files []File) ([]File, error) {
	changed, err := h.Differ(ctx, files)
	if err != nil {
		return nil, err
	}
	for _, f := range changed {
		if err := h.Put(ctx, f); err != nil {
			return nil, err
		}
	}
	return changed, nil
}
