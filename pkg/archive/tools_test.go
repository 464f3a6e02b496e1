package archive_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	seekable "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// TestTools shows that zstd and tar read volumes, which is what format v1 promises
// to people without naru.
func TestTools(t *testing.T) {
	f := standard(t)
	dir := t.TempDir()
	one := f.pack(t, dir, 0)[0]
	command(t, dir, "zstd", "-t", one)
	listed := command(t, dir, "sh", "-c", `zstd -dc "$1" | tar -t`, "sh", one)
	var want []string
	want = append(want, "volume.json", "bundle.json", "bundle.json.sigstore.json", "contents.json")
	for _, file := range f.input.Files {
		want = append(want, file.Name)
	}
	for _, b := range f.input.Blobs {
		want = append(want, "blobs/sha256/"+b.Digest.Encoded())
	}
	want = append(want, "signatures/blobs/sha256/aa", "signatures/index.json", "toc.json")
	if diff := cmp.Diff(want, strings.Fields(listed)); diff != "" {
		t.Error(diff)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, out, "tar", "--zstd", "-xf", one)
	for d, content := range f.content {
		got, err := os.ReadFile(filepath.Join(out, "blobs/sha256", d.Encoded()))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("extracted blob %s differs: %v", d, err)
		}
	}
}

// TestToolsParts shows that the parts of a cut blob are joined with cat.
func TestToolsParts(t *testing.T) {
	f := standard(t)
	dir := t.TempDir()
	paths := f.pack(t, dir, 5<<20)
	for _, path := range paths {
		command(t, dir, "zstd", "-tq", path)
		command(t, dir, "tar", "--zstd", "-xf", path)
	}
	for d, content := range f.content {
		script := `cat "$1" 2>/dev/null || cat "$1".*`
		if got := command(t, filepath.Join(dir, "blobs/sha256"), "sh", "-c", script, "sh", d.Encoded()); digest.FromString(got) != d {
			t.Errorf("blob %s: %d bytes put together, want %d", d, len(got), len(content))
		}
	}
}

// TestSeekable shows that another implementation of the seekable format agrees.
func TestSeekable(t *testing.T) {
	f := standard(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	r, err := seekable.NewReader(file, dec)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := exec.Command("zstd", "-dc", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, int64(len(whole))+1))
	if err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(whole), err)
	}
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &stderr)
	}
	return string(out)
}
