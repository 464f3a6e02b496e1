package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/internal/intake"
	"naru/pkg/archive"
	"naru/pkg/sign/verify"
	"naru/test/lab/workload"
)

// medium is a folder of three volumes, as the real program made it.
type medium struct {
	dir     string
	files   map[string][]byte   // everything in it but the install program
	volumes []string            // names, in order
	regions map[string][]region // by volume
	blobs   map[digest.Digest][]byte
	entries map[string][]byte
	other   string // folder of another bundle
}

// smallest is the size, in bytes, under which volumes hold no whole frame beside what
// each must have.
const smallest = 4400 << 10

// newMedium builds a bundle of three volumes with a blob that is cut, and reads it.
// Which volume size that takes depends on the content, and so on the seed; some
// contents have none.
func (s *suite) newMedium(ctx context.Context) (*medium, error) {
	for try := range uint64(10) {
		m := &medium{dir: filepath.Join(s.work, fmt.Sprint("medium-", try)), other: filepath.Join(s.work, fmt.Sprint("other-", try))}
		src, err := s.newSource(ctx, s.seed+try, workload.Shape{Name: "damage", Bytes: 20e6, Images: 4, Bases: 2, Layers: 2, RawPercent: 60, Files: 1})
		if err != nil {
			return nil, err
		}
		found, err := s.fill(ctx, src, m)
		if err := errors.Join(err, src.up.Close()); err != nil || found {
			return m, err
		}
	}
	return nil, errors.New("no volume size gives three volumes and a cut blob")
}

// fill builds src into m and reports whether some volume size does what is asked.
func (s *suite) fill(ctx context.Context, src *source, m *medium) (bool, error) {
	cache := m.dir + "-cache"
	var one built
	if err := s.program(ctx, &one, "bundle", s.buildArgs(src, m.other, cache, "--no-installer")...); err != nil {
		return false, err
	}
	total := one.Volumes[0].Size
	for size := max(smallest, total/3); size < total; size += 256 << 10 {
		var b built
		if err := s.program(ctx, &b, "bundle", s.buildArgs(src, m.dir, cache, "--no-installer", "--replace", "--volume-size", fmt.Sprint(size))...); err != nil {
			return false, err
		}
		if len(b.Volumes) != 3 {
			continue
		}
		if err := m.read(ctx, s.key+".pub"); err != nil {
			return false, err
		}
		if m.hasCutBlob() {
			return true, s.makeOther(ctx, src, m.other, cache)
		}
	}
	return false, nil
}

// makeOther builds a bundle of the same content that is another one: of one platform
// image less.
func (s *suite) makeOther(ctx context.Context, src *source, dir, cache string) error {
	less := filepath.Join(s.work, "less.yaml")
	ref := src.layout.Catalog.Images[0].Ref
	text := fmt.Sprintf("apiVersion: naru/v1\nkind: Content\nname: less\nplatforms: [linux/amd64]\nimages:\n  - ref: %s\n", ref)
	if err := os.WriteFile(less, []byte(text), 0o600); err != nil {
		return err
	}
	small := *src
	small.file = less
	return s.program(ctx, nil, "bundle", s.buildArgs(&small, dir, cache, "--no-installer", "--replace", "--fresh")...)
}

// readFile takes one file of the medium into memory; its name is relative to it.
func (m *medium) readFile(path string, d fs.DirEntry, err error) error {
	if err != nil || d.IsDir() {
		return err
	}
	name, err := filepath.Rel(m.dir, path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m.files[name] = data
	if !strings.HasSuffix(name, ".tar.zst") {
		return nil
	}
	m.volumes = append(m.volumes, name)
	if m.regions[name], err = mapVolume(data); err != nil {
		return fmt.Errorf("mapping %q: %w", name, err)
	}
	return nil
}

// read takes the medium into memory, the content through naru's reader.
func (m *medium) read(ctx context.Context, key string) error {
	m.files, m.regions, m.volumes = map[string][]byte{}, map[string][]region{}, nil
	if err := filepath.WalkDir(m.dir, m.readFile); err != nil {
		return err
	}
	b, err := intake.Open(ctx, intake.Options{Paths: []string{m.dir}, Keys: []string{key}})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	m.blobs, m.entries = map[digest.Digest][]byte{}, map[string][]byte{}
	for _, e := range b.Contents().Entries {
		if m.entries[e.Name], err = b.ReadFile(ctx, e.Name); err != nil {
			return err
		}
	}
	for _, blob := range b.Contents().Blobs {
		data, err := readBlob(ctx, b, blob.Digest)
		if err != nil {
			return err
		}
		if got := digest.FromBytes(data); got != blob.Digest {
			return fmt.Errorf("blob %s has digest %s", blob.Digest, got)
		}
		m.blobs[blob.Digest] = data
	}
	return nil
}

func readBlob(ctx context.Context, b *intake.Bundle, d digest.Digest) (_ []byte, err error) {
	r, err := b.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

func (m *medium) hasCutBlob() bool {
	for _, regions := range m.regions {
		for _, r := range regions {
			if r.part == partContent && r.blob() != r.entry {
				return true
			}
		}
	}
	return false
}

// copyTo writes the medium into a folder.
func (m *medium) copyTo(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range m.files {
		if err := writeBelow(dir, name, data); err != nil {
			return err
		}
	}
	return nil
}

// writeBelow writes a file of the medium, in its folder.
func writeBelow(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// believed is what reading a damaged medium gave.
type believed struct {
	err   error    // of opening, or of verifying
	wrong []string // content handed out that is not what was signed
}

// believe reads all that a medium hands out, in every way there is, and verifies it.
func (m *medium) believe(ctx context.Context, r *rand.Rand, o intake.Options) believed {
	b, err := intake.Open(ctx, o)
	if err != nil {
		return believed{err: err}
	}
	var out believed
	defer func() { _ = b.Close() }()
	for name, want := range m.entries {
		if got, err := b.ReadFile(ctx, name); err == nil && !bytes.Equal(got, want) {
			out.wrong = append(out.wrong, name)
		}
	}
	if len(b.Contents().Blobs) != len(m.blobs) {
		out.wrong = append(out.wrong, "contents.json")
	}
	ranges := r.IntN(2) == 0
	for _, d := range slices.Sorted(maps.Keys(m.blobs)) {
		if ranges && !m.rangeRight(ctx, r, b, d) || !m.blobRight(ctx, b, d) {
			out.wrong = append(out.wrong, d.String())
		}
	}
	if _, out.err = b.Verify(ctx, archive.VerifyOptions{}); out.err == nil {
		_, out.err = b.WithSignatures(ctx) // what the signature of bundle.json does not cover
	}
	return out
}

// blobRight reads a blob to its end: it either is what was signed, or the reading
// fails with the end missing.
func (m *medium) blobRight(ctx context.Context, b *intake.Bundle, d digest.Digest) bool {
	got, err := readBlob(ctx, b, d)
	if err != nil {
		return len(m.blobs[d]) == 0 || len(got) < len(m.blobs[d])
	}
	return bytes.Equal(got, m.blobs[d])
}

// rangeRight reads from the middle of a blob: nothing comes but what was signed.
func (m *medium) rangeRight(ctx context.Context, r *rand.Rand, b *intake.Bundle, d digest.Digest) bool {
	want := m.blobs[d]
	if len(want) == 0 {
		return true
	}
	at := r.IntN(len(want))
	want = want[at:min(len(want), at+64<<10)]
	blob, err := b.OpenBlob(ctx, d)
	if err != nil {
		return true
	}
	defer func() { _ = blob.Close() }()
	if _, err := blob.Seek(int64(at), io.SeekStart); err != nil {
		return true
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(blob, got)
	return bytes.Equal(got[:n], want[:n]) && (err != nil || n == len(want))
}

// sums checks a medium against its SHA256SUMS alone, as naru does it.
func sums(ctx context.Context, ring *verify.Keyring, dir string) error {
	list, _, err := ring.OpenSums(dir)
	if err != nil {
		return err
	}
	return verify.CheckSums(ctx, []string{dir}, list, verify.CheckOptions{Jobs: 1})
}

// sumsName reports whether an error of sums names this one file and no other.
func sumsName(err error, file string) bool {
	var wrong *verify.SumsError
	return errors.As(err, &wrong) && len(wrong.Files) == 1 && wrong.Files[0].Name == file
}
