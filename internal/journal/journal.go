// Package journal is the site's log of what was done to it: what came in, what was
// pushed where, what was installed. Entries are only ever added, each names the
// digest of the one before and is signed with the site key, so that an entry that is
// changed, left out or put in afterwards shows.
//
// The file holds one entry a line, canonical JSON:
//
//	{"apiVersion":"naru/v1","kind":"JournalEntry","seq":1,"time":"...","prev":"","event":"push","data":{...},"signature":"..."}
//
// prev is the digest of the line before, without its newline; the signature, ASN.1 in
// base64, is over the line with an empty signature. What is cut off the end leaves a
// whole chain behind: the last digest is therefore printed in reports that leave the
// site.
package journal

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"naru/manifest"
	"naru/pkg/sign/verify"
)

// kindEntry is the kind of an entry.
const kindEntry = "JournalEntry"

// maxEntry bounds a line, in bytes.
const maxEntry = 16 << 20

// DefaultPath is where a site's journal lies.
const DefaultPath = "/var/lib/naru/journal.jsonl"

// Entry is one line.
type Entry struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Seq counts from 1.
	Seq int64 `json:"seq"`
	// Time is RFC 3339, UTC, by the host's clock.
	Time string `json:"time"`
	// Prev is the digest of the line before, empty for the first.
	Prev digest.Digest `json:"prev"`
	// Event says what happened, in kebab case; Data is what belongs to it, without
	// secrets.
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data,omitempty"`
	Signature string          `json:"signature"`
}

// Signer signs entries; the site key does.
type Signer interface {
	Sign(data []byte) ([]byte, error)
}

// BrokenError says at which line a journal stops being what was written to it.
type BrokenError struct {
	Path string
	Line int // counts from 1
	Err  error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("reading the journal %q: line %d: %v", e.Path, e.Line, e.Err)
}

func (e *BrokenError) Unwrap() error { return e.Err }

var (
	errChain     = errors.New("it does not follow on the line before")
	errTorn      = errors.New("it has no end")
	errSignature = errors.New("it is not signed by the site key")
)

// Append adds an entry and returns the digest of its line, the new head of the
// chain. Programs that append at the same time wait for each other. An entry of which
// a crash left the beginning only was never acknowledged and is dropped. A chain that
// is broken elsewhere is a *BrokenError, and nothing is added.
func Append(path string, key Signer, event string, data any) (head digest.Digest, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("making the folder of the journal: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking the journal: %w", err)
	}
	last, end, err := tail(path, f)
	if err != nil {
		return "", err
	}
	line, err := newEntry(last, key, event, data)
	if err != nil {
		return "", err
	}
	if err := f.Truncate(end); err != nil {
		return "", fmt.Errorf("writing the journal: %w", err)
	}
	if _, err := f.WriteAt(line, end); err != nil {
		return "", fmt.Errorf("writing the journal: %w", err)
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("syncing the journal: %w", err)
	}
	return digest.FromBytes(bytes.TrimSuffix(line, []byte("\n"))), nil
}

// state is where a chain stands.
type state struct {
	seq  int64
	head digest.Digest
}

func newEntry(last state, key Signer, event string, data any) ([]byte, error) {
	e := Entry{
		APIVersion: manifest.APIVersion, Kind: kindEntry, Seq: last.seq + 1, Prev: last.head,
		Time: time.Now().UTC().Format(time.RFC3339), Event: event,
	}
	if data != nil {
		raw, err := manifest.EncodeJSON(data)
		if err != nil {
			return nil, fmt.Errorf("writing the journal: %w", err)
		}
		e.Data = bytes.TrimSpace(raw)
	}
	unsigned, err := manifest.EncodeJSON(e)
	if err != nil {
		return nil, fmt.Errorf("writing the journal: %w", err)
	}
	sig, err := key.Sign(unsigned)
	if err != nil {
		return nil, err
	}
	e.Signature = base64.StdEncoding.EncodeToString(sig)
	return manifest.EncodeJSON(e)
}

// tail walks the chain and returns its state and where its whole lines end.
func tail(path string, r io.Reader) (last state, end int64, err error) {
	err = walk(path, r, func(_ Entry, s state, n int) error {
		last = s
		end += int64(n)
		return nil
	})
	var broken *BrokenError
	if errors.As(err, &broken) && errors.Is(err, errTorn) {
		err = nil
	}
	return last, end, err
}

// walk calls f for every line with the state after it and its length, newline
// included.
func walk(path string, r io.Reader, f func(Entry, state, int) error) error {
	var now state
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := readLine(br)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return &BrokenError{Path: path, Line: n, Err: errTorn}
		}
		if err != nil {
			return &BrokenError{Path: path, Line: n, Err: err}
		}
		var e Entry
		if err := manifest.DecodeJSON(line, kindEntry, &e); err != nil {
			return &BrokenError{Path: path, Line: n, Err: err}
		}
		if e.Seq != now.seq+1 || e.Prev != now.head {
			return &BrokenError{Path: path, Line: n, Err: errChain}
		}
		now = state{seq: e.Seq, head: digest.FromBytes(bytes.TrimSuffix(line, []byte("\n")))}
		if err := f(e, now, len(line)); err != nil {
			return &BrokenError{Path: path, Line: n, Err: err}
		}
	}
}

func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxEntry {
			return nil, fmt.Errorf("it is over the bound of %d bytes", maxEntry)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// Read returns every entry after checking the chain and each signature against the
// keys of the ring. The first line that is not what was written is a *BrokenError; the
// entries before it are returned with it.
func Read(path string, ring *verify.Keyring) (entries []Entry, head digest.Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = walk(path, f, func(e Entry, s state, _ int) error {
		if err := check(e, ring); err != nil {
			return err
		}
		entries, head = append(entries, e), s.head
		return nil
	})
	return entries, head, err
}

func check(e Entry, ring *verify.Keyring) error {
	sig, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return fmt.Errorf("%w: %w", errSignature, err)
	}
	e.Signature = ""
	unsigned, err := manifest.EncodeJSON(e)
	if err != nil {
		return err
	}
	if _, err := ring.VerifyFile(bytes.NewReader(unsigned), sig); err != nil {
		return fmt.Errorf("%w: %w", errSignature, err)
	}
	return nil
}
