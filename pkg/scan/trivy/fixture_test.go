//go:build goexperiment.jsonv2

package trivy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/aquasecurity/trivy-db/pkg/types"

	"naru/manifest"
	"naru/pkg/scan"
	"naru/test/lab/trivydb"
)

// memory is content by digest.
type memory struct {
	mu    sync.Mutex
	blobs map[digest.Digest][]byte
	opens int
}

func newMemory() *memory { return &memory{blobs: map[digest.Digest][]byte{}} }

func (m *memory) put(data []byte) digest.Digest {
	d := digest.FromBytes(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[d] = data
	return d
}

func (m *memory) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[d]
	if !ok {
		return nil, fmt.Errorf("opening %s: %w", d, fs.ErrNotExist)
	}
	m.opens++
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(data), io.NopCloser(nil)}, nil
}

// file stores data and describes it.
func (m *memory) file(name string, data []byte) scan.Blob {
	return scan.Blob{Name: name, Digest: m.put(data), Size: int64(len(data))}
}

// layer stores a layer of files.
func (m *memory) layer(t testing.TB, files map[string][]byte) scan.Blob {
	t.Helper()
	b := m.file("", gzipped(t, tarOf(t, files)))
	b.MediaType = ocispec.MediaTypeImageLayerGzip
	return b
}

func tarOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for name, data := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// debianFiles are those of a Debian 12 with the given entries of dpkg's status.
func debianFiles(status ...string) map[string][]byte {
	return map[string][]byte{
		"etc/os-release":      []byte("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
		"etc/debian_version":  []byte("12.5\n"),
		"var/lib/dpkg/status": []byte(strings.Join(status, "\n")),
	}
}

const libc = `Package: libc6
Status: install ok installed
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u4
Description: GNU C Library
`

// crypto is the module that the fixture's program links, in the version of go.mod.
const cryptoModule = "golang.org/x/crypto"

var cryptoVersion = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", cryptoModule).Output()
	return strings.TrimSpace(string(out)), err
})

// goProgram builds a program that links golang.org/x/crypto.
var goProgram = sync.OnceValues(func() ([]byte, error) {
	version, err := cryptoVersion()
	if err != nil {
		return nil, err
	}
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return nil, err
	}
	sums, err := os.ReadFile(filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "go.sum"))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "prog")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, data := range map[string]string{
		"go.mod":  "module lab.test/prog\n\ngo 1.25\n\nrequire " + cryptoModule + " " + version + "\n",
		"go.sum":  string(sums),
		"main.go": "package main\n\nimport \"golang.org/x/crypto/cryptobyte\"\n\nfunc main() { _ = cryptobyte.String(nil).Empty() }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "build", "-mod=mod", "-o", "prog", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the fixture's program: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "prog"))
})

func program(t testing.TB) []byte {
	t.Helper()
	data, err := goProgram()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// database is the lab's, with an advisory for whatever x/crypto go.mod has.
func database(t testing.TB, more ...trivydb.Advisory) *scan.Database {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	list := append(trivydb.Default(), trivydb.Advisory{CVE: "CVE-2025-58181", Bucket: trivydb.Go, Package: cryptoModule,
		Range: "< 9.0.0", Fixed: "9.0.0", Severity: types.SeverityMedium, Title: "x/crypto", Date: "2025-11-19"})
	if err := trivydb.Build(dir, append(list, more...), trivydb.Date()); err != nil {
		t.Fatal(err)
	}
	return &scan.Database{Dir: dir, ScanDatabase: manifest.ScanDatabase{Name: manifest.DatabaseVulnerability, Digest: digest.FromString(dir)}}
}

// deb is a .deb with a control file and nothing else.
func deb(t testing.TB, control string) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", gzipped(t, tarOf(t, map[string][]byte{"./control": []byte(control)}))},
		{"data.tar.gz", gzipped(t, tarOf(t, nil))}} {
		_, _ = fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		out.Write(m.data)
		if len(m.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// chart is a packaged chart that runs a privileged container.
func chart(t testing.TB) []byte {
	t.Helper()
	return gzipped(t, tarOf(t, map[string][]byte{
		"web/Chart.yaml":            []byte("apiVersion: v2\nname: web\nversion: 1.0.0\n"),
		"web/values.yaml":           []byte("privileged: true\n"),
		"web/templates/deploy.yaml": []byte(strings.ReplaceAll(deployment, "privileged: true", "privileged: {{ .Values.privileged }}")),
	}))
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.lab.test/web:1.0
        securityContext:
          privileged: true
`

// advisory is one of Debian's.
func advisory(cve, pkg, fixed string) trivydb.Advisory {
	return trivydb.Advisory{CVE: cve, Bucket: trivydb.Debian, Package: pkg, Fixed: fixed, Severity: types.SeverityHigh, Title: pkg, Date: "2025-05-16"}
}

// rpm is a .rpm of headers alone.
func rpm(name, version, release string) []byte {
	header := func(tags map[uint32]string) []byte {
		var index, store bytes.Buffer
		for _, tag := range slices.Sorted(maps.Keys(tags)) {
			for _, n := range []uint32{tag, 6, uint32(store.Len()), 1} { // 6: a string
				_ = binary.Write(&index, binary.BigEndian, n)
			}
			store.WriteString(tags[tag] + "\x00")
		}
		out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
		out = binary.BigEndian.AppendUint32(out, uint32(len(tags)))
		out = binary.BigEndian.AppendUint32(out, uint32(store.Len()))
		return append(append(out, index.Bytes()...), store.Bytes()...)
	}
	lead := make([]byte, 96)
	copy(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0})
	lead[79] = 5 // signature of headers
	out := append(lead, header(nil)...)
	return append(out, header(map[uint32]string{1000: name, 1001: version, 1002: release, 1014: "Apache-2.0", 1022: "x86_64",
		1044: name + "-" + version + "-" + release + ".src.rpm"})...)
}
