package intake_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/credentials"

	"naru/internal/build"
	"naru/internal/intake"
	"naru/pkg/archive"
	"naru/pkg/mirror/remote"
	"naru/pkg/sign"
	"naru/pkg/sign/verify"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newKey makes a key pair and returns a signer and the file of its public key.
func newKey(t *testing.T) (*sign.Signer, string) {
	t.Helper()
	password := func(context.Context, bool) ([]byte, error) { return []byte("test"), nil }
	pair := must(sign.GenerateKeyPair(t.Context(), filepath.Join(t.TempDir(), "cosign"), password))(t)
	return must(sign.LoadSigner(t.Context(), pair.PrivatePath, password))(t), pair.PublicPath
}

// newBundle builds a bundle of one file of 500 kB, signed unless signer is nil.
func newBundle(t *testing.T, signer build.Signer) string {
	t.Helper()
	w := must(layout.NewWriter(t.TempDir()))(t)
	data := make([]byte, 500_000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	must(w.File("https://dl.lab.test/data", func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	}))(t)
	l := must(w.Close())(t)
	up := must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir()}))(t)
	t.Cleanup(func() { _ = up.Close() })
	ok(t, up.Add(t.Context(), l))
	dir := t.TempDir()
	content := filepath.Join(dir, "content.yaml")
	ok(t, os.WriteFile(content, []byte("apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\n"+
		"files: [{name: data, version: '1', sources: [{url: 'https://dl.lab.test/data'}]}]\n"), 0o600))
	o := build.Options{ContentFiles: []string{content}, CacheDir: t.TempDir(), OutDir: filepath.Join(dir, "out"), Unsigned: signer == nil,
		Remote: remote.Options{CAFiles: []string{up.CAFile()}, Credentials: credentials.NewMemoryStore()}}
	if signer != nil {
		o.Signer = signer
	}
	for _, s := range up.RegistryMap() {
		o.Remote.Map = append(o.Remote.Map, must(remote.ParseMapping(s))(t))
	}
	must(build.Build(t.Context(), o))(t)
	return o.OutDir
}

// volume is the file of the bundle's only volume.
func volume(t *testing.T, dir string) string {
	t.Helper()
	list := must(filepath.Glob(filepath.Join(dir, "*.tar.zst")))(t)
	if len(list) != 1 {
		t.Fatalf("volumes %v, want one", list)
	}
	return list[0]
}

func TestWhoIsTrusted(t *testing.T) {
	signer, pub := newKey(t)
	_, other := newKey(t)
	dir := newBundle(t, signer)
	unsigned := newBundle(t, nil)
	trust := func(trusted, revoked []string) string {
		to := t.TempDir()
		ok(t, os.Mkdir(filepath.Join(to, "revoked"), 0o700))
		for sub, keys := range map[string][]string{"": trusted, "revoked": revoked} {
			for _, key := range keys {
				name := filepath.Base(filepath.Dir(key)) + ".pub"
				ok(t, os.WriteFile(filepath.Join(to, sub, name), must(os.ReadFile(key))(t), 0o600))
			}
		}
		return to
	}
	for name, c := range map[string]struct {
		o    intake.Options
		want func(error) bool
	}{
		"its key":               {intake.Options{Paths: []string{dir}, Keys: []string{pub}}, nil},
		"one of two keys":       {intake.Options{Paths: []string{dir}, Keys: []string{other, pub}}, nil},
		"trust folder":          {intake.Options{Paths: []string{dir}, TrustDir: trust([]string{pub, other}, nil)}, nil},
		"nobody asked":          {intake.Options{Paths: []string{unsigned}, SkipVerify: true}, nil},
		"no key":                {intake.Options{Paths: []string{dir}}, is(intake.ErrNoTrust)},
		"no such trust folder":  {intake.Options{Paths: []string{dir}, TrustDir: filepath.Join(t.TempDir(), "none")}, is(intake.ErrNoTrust)},
		"empty trust folder":    {intake.Options{Paths: []string{dir}, TrustDir: t.TempDir()}, is(intake.ErrNoTrust)},
		"another key":           {intake.Options{Paths: []string{dir}, Keys: []string{other}}, as[*verify.NoMatchError]},
		"another trust folder":  {intake.Options{Paths: []string{dir}, TrustDir: trust([]string{other}, nil)}, as[*verify.NoMatchError]},
		"revoked":               {intake.Options{Paths: []string{dir}, TrustDir: trust([]string{other}, []string{pub})}, as[*verify.RevokedError]},
		"revoked, yet given":    {intake.Options{Paths: []string{dir}, Keys: []string{pub}, TrustDir: trust([]string{other}, []string{pub})}, as[*verify.RevokedError]},
		"revoked, yet trusted":  {intake.Options{Paths: []string{dir}, TrustDir: trust([]string{pub}, []string{pub})}, as[*verify.RevokedError]},
		"revoked, nobody asked": {intake.Options{Paths: []string{dir}, SkipVerify: true, TrustDir: trust(nil, []string{pub})}, as[*verify.RevokedError]},
		"others are revoked":    {intake.Options{Paths: []string{dir}, SkipVerify: true, TrustDir: trust(nil, []string{other})}, nil},
		"unsigned, revoked key": {intake.Options{Paths: []string{unsigned}, SkipVerify: true, TrustDir: trust(nil, []string{other})}, nil},
		"unsigned":              {intake.Options{Paths: []string{unsigned}, Keys: []string{pub}}, whatever},
		"private key as public": {intake.Options{Paths: []string{dir}, Keys: []string{filepath.Join(filepath.Dir(pub), "cosign.key")}}, whatever},
	} {
		b, err := intake.Open(t.Context(), c.o)
		switch {
		case c.want == nil && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != nil && (err == nil || !c.want(err)):
			t.Errorf("%s: got %v", name, err)
		}
		if err == nil {
			if (b.Signer == "") != c.o.SkipVerify {
				t.Errorf("%s: signed by %q", name, b.Signer)
			}
			ok(t, b.Close())
		}
	}
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func whatever(error) bool { return true }

// TestRecordHoldsForTheVeryFileOnly changes what a record knows of a volume, one
// thing after the other.
func TestRecordHoldsForTheVeryFileOnly(t *testing.T) {
	signer, pub := newKey(t)
	dir := newBundle(t, signer)
	path, records := volume(t, dir), filepath.Join(t.TempDir(), "state", "bundles")
	register := func(what string, want bool) {
		t.Helper()
		b := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, Keys: []string{pub}}))(t)
		defer func() { _ = b.Close() }()
		verified, err := intake.Register(t.Context(), b, records, archive.VerifyOptions{})
		if err != nil || verified != want {
			t.Errorf("%s: verified %v, %v, want %v", what, verified, err, want)
		}
	}
	register("the first time", true)
	register("the second time", false)

	info := must(os.Stat(path))(t)
	ok(t, os.Chtimes(path, time.Time{}, info.ModTime().Add(time.Second)))
	register("of another time", true)
	register("of that time again", false)

	mtime := must(os.Stat(path))(t).ModTime()
	data := must(os.ReadFile(path))(t)
	ok(t, os.WriteFile(path, data, 0o600)) // the very inode, its time set back
	ok(t, os.Chtimes(path, time.Time{}, mtime))
	register("written to, and its time set back", true)
	register("and registered", false)

	copied := path + ".copy" // same size, same time, another file
	ok(t, os.WriteFile(copied, must(os.ReadFile(path))(t), 0o600))
	ok(t, os.Chtimes(copied, time.Time{}, info.ModTime().Add(time.Second)))
	ok(t, os.Rename(copied, path))
	register("a copy", true)
	register("the copy again", false)

	record := must(filepath.Glob(filepath.Join(records, "*.json")))(t)
	ok(t, os.WriteFile(record[0], []byte("{"), 0o600))
	register("with a torn record", true)
	ok(t, os.WriteFile(record[0], bytes.Replace(must(os.ReadFile(record[0]))(t), []byte("naru/v1"), []byte("naru/v9"), 1), 0o600))
	register("with a record of a newer version", true)
	register("and again", false)
}

func TestDamagedVolumeIsNeverRecorded(t *testing.T) {
	signer, pub := newKey(t)
	dir := newBundle(t, signer)
	path, records := volume(t, dir), t.TempDir()
	data := must(os.ReadFile(path))(t)
	data[len(data)/2] ^= 1
	ok(t, os.WriteFile(path, data, 0o600))
	for range 2 {
		b := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, Keys: []string{pub}}))(t)
		_, err := intake.Register(t.Context(), b, records, archive.VerifyOptions{})
		if !as[*archive.DamagedError](err) {
			t.Errorf("got %v, want a *DamagedError", err)
		}
		ok(t, b.Close())
	}
	if list := must(os.ReadDir(records))(t); len(list) != 0 {
		t.Errorf("recorded: %v", list)
	}
}

// TestIndexOfSignatures changes every byte of signatures/index.json, which nobody
// signed: each change is noticed, and the volume named.
func TestIndexOfSignatures(t *testing.T) {
	signer, pub := newKey(t)
	dir := newBundle(t, signer)
	path := volume(t, dir)
	data := must(os.ReadFile(path))(t)
	at := bytes.LastIndex(data, []byte(`"kind":"Signatures"`))
	from := bytes.LastIndexByte(data[:at], '{')
	to := from + bytes.Index(data[from:], []byte("}\n"))
	if at < 0 || to < from {
		t.Fatal("the volume has no index of signatures that is not compressed")
	}
	for i := from; i <= to; i++ {
		data[i] ^= 1
		ok(t, os.WriteFile(path, data, 0o600))
		data[i] ^= 1
		b := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, Keys: []string{pub}}))(t)
		_, err := b.WithSignatures(t.Context())
		ok(t, b.Close())
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("byte %d, in %q: got %v, want an error that names the volume", i-from, data[max(from, i-20):min(to, i+20)], err)
		}
	}
}

func TestFilesBesideTheVolumes(t *testing.T) {
	signer, pub := newKey(t)
	dir := newBundle(t, signer)
	o := intake.Options{Paths: []string{dir}, Keys: []string{pub}}
	b := must(intake.Open(t.Context(), o))(t)
	defer func() { _ = b.Close() }()
	ok(t, os.WriteFile(filepath.Join(dir, "README.txt"), []byte("call this number"), 0o600))
	if _, err := intake.CheckMedia(t.Context(), o, b); !as[*verify.SumsError](err) && !as[*verify.FileError](err) {
		t.Errorf("got %v, want an error that names README.txt", err)
	}
	ok(t, os.Remove(filepath.Join(dir, "SHA256SUMS.sig")))
	if _, err := intake.CheckMedia(t.Context(), o, b); !errors.Is(err, intake.ErrSumsUnsigned) {
		t.Errorf("got %v, want ErrSumsUnsigned", err)
	}
}

func TestExtractedLayout(t *testing.T) {
	signer, pub := newKey(t)
	dir := newBundle(t, signer)
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, Keys: []string{pub}}))(t)
	defer func() { _ = b.Close() }()
	to := t.TempDir()
	var seen int64
	ok(t, intake.ExtractLayout(t.Context(), b, to, intake.ExtractOptions{Jobs: 1, Progress: func(n int64) { seen += n }}))
	var total int64
	for _, blob := range b.Contents().Blobs {
		data := must(os.ReadFile(filepath.Join(to, "blobs", "sha256", blob.Digest.Encoded())))(t)
		if blob.Digest.Algorithm().FromBytes(data) != blob.Digest {
			t.Errorf("%s was extracted as something else", blob.Digest)
		}
		total += blob.Size
	}
	if seen != total {
		t.Errorf("progress of %d bytes, want %d", seen, total)
	}
	if _, err := os.Stat(filepath.Join(to, "index.json")); err != nil {
		t.Error(err)
	}
	again := func(dir string) error {
		return intake.ExtractLayout(t.Context(), b, dir, intake.ExtractOptions{Jobs: 2})
	}
	ok(t, again(to))
	ok(t, os.Remove(filepath.Join(to, "index.json"))) // as where it was cut off
	ok(t, again(to))
	// A layout of other images, another bundle's, and a folder of one's own with a lock.
	for _, name := range []string{"index.json", "bundle.json", "lock.yaml"} {
		theirs := t.TempDir()
		ok(t, os.WriteFile(filepath.Join(theirs, name), []byte("theirs"), 0o600))
		if err := again(theirs); !as[*intake.OccupiedError](err) {
			t.Errorf("%s of others: got %v", name, err)
		}
		if entries := must(os.ReadDir(theirs))(t); len(entries) != 1 || string(must(os.ReadFile(filepath.Join(theirs, name)))(t)) != "theirs" {
			t.Errorf("%s of others: left %v", name, entries)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	torn := t.TempDir()
	if err := intake.ExtractLayout(ctx, b, torn, intake.ExtractOptions{Jobs: 2}); err == nil {
		t.Error("a cancelled extraction ended well")
	}
	if _, err := os.Stat(filepath.Join(torn, "index.json")); err == nil {
		t.Error("a layout that is not complete has an index.json")
	}
}
