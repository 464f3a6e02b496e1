//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/test/lab/upstream"
)

// Paths of the upstream that faults are for.
const (
	anyBlob     = `^/v2/.*/blobs/`
	anyManifest = `^/v2/.*/manifests/`
	anyFile     = `^/files/`
	anyContent  = `^/v2/.*/blobs/|^/files/`
	oneTag      = `/cni-plugins/manifests/v1\.6\.2$`
)

// fault is one row of the table: what goes wrong, and how a build takes it.
type fault struct {
	name   string
	faults []upstream.Fault
	// code is what a build exits with: 0 when it survives.
	code int
	// says is what its message then holds; digests how many it names.
	says    []string
	digests int
}

// once makes a fault fire on the first request for each path.
var once = upstream.When{Times: 1, Per: upstream.PerPath}

var faults = []fault{
	{name: "429, seconds", faults: []upstream.Fault{{Kind: upstream.Status, Status: 429, RetryAfter: upstream.Duration(time.Second), Match: upstream.Match{Path: anyContent}, When: once}}},
	{name: "429, date", faults: []upstream.Fault{{Kind: upstream.Status, Status: 429, RetryAfter: upstream.Duration(2 * time.Second), RetryForm: upstream.RetryDate, Match: upstream.Match{Path: anyContent}, When: once}}},
	{name: "500", faults: []upstream.Fault{{Kind: upstream.Status, Status: 500, When: once}}},
	{name: "502", faults: []upstream.Fault{{Kind: upstream.Status, Status: 502, When: once}}},
	{name: "503", faults: []upstream.Fault{{Kind: upstream.Status, Status: 503, When: once}}},
	{name: "drop", faults: []upstream.Fault{{Kind: upstream.Drop, When: once}}},
	{name: "reset mid-blob", faults: []upstream.Fault{{Kind: upstream.Reset, After: upstream.Middle, When: once}}},
	{name: "resets at random", faults: []upstream.Fault{{Kind: upstream.Reset, After: 1 << 20, Match: upstream.Match{Path: anyContent}, When: upstream.When{Probability: 0.5, Seed: 7, Times: 30}}}},
	{name: "truncate", faults: []upstream.Fault{{Kind: upstream.Truncate, After: upstream.Middle, When: once}}},
	{name: "short", faults: []upstream.Fault{{Kind: upstream.Short, After: upstream.Middle, Match: upstream.Match{Path: anyContent}, When: once}}, code: 5, digests: 2},
	{name: "slow", faults: []upstream.Fault{{Kind: upstream.Slow, Rate: 100 << 10, Match: upstream.Match{Path: `/pause/`}}}},
	{name: "delay", faults: []upstream.Fault{{Kind: upstream.Delay, Delay: upstream.Duration(300 * time.Millisecond)}}},
	{name: "stall, goes on", faults: []upstream.Fault{{Kind: upstream.Stall, After: upstream.Middle, Delay: upstream.Duration(2 * time.Second), Match: upstream.Match{Path: anyFile}}}},
	{name: "stall, for good", faults: []upstream.Fault{{Kind: upstream.Stall, After: upstream.Middle, Match: upstream.Match{Path: anyFile}, When: once}}},
	{name: "ignore-range", faults: []upstream.Fault{
		{Kind: upstream.Reset, After: upstream.Middle, Match: upstream.Match{Path: anyContent}, When: once},
		{Kind: upstream.IgnoreRange, Match: upstream.Match{Path: anyContent}},
	}},
	{name: "wrong-range", faults: []upstream.Fault{
		{Kind: upstream.Reset, After: upstream.Middle, Match: upstream.Match{Path: anyContent}, When: once},
		{Kind: upstream.WrongRange, Match: upstream.Match{Path: anyContent}, When: once},
	}},
	{name: "corrupt blob, once", faults: []upstream.Fault{{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: anyBlob}, When: upstream.When{Times: 1}}}, code: 5, digests: 2},

	{name: "503 for good", faults: []upstream.Fault{{Kind: upstream.Status, Status: 503, Match: upstream.Match{Path: anyBlob}}}, code: 7, says: []string{"503"}},
	{name: "drop for good", faults: []upstream.Fault{{Kind: upstream.Drop, Match: upstream.Match{Path: anyFile}}}, code: 7, says: []string{"dl.lab.test"}},
	{name: "404", faults: []upstream.Fault{{Kind: upstream.Status, Status: 404, Match: upstream.Match{Path: anyFile}}}, code: 7, says: []string{"404", "dl.lab.test"}},
	{name: "403", faults: []upstream.Fault{{Kind: upstream.Status, Status: 403, Match: upstream.Match{Path: anyBlob}}}, code: 7, says: []string{"403"}},
	{name: "corrupt blob", faults: []upstream.Fault{{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: anyBlob}}}, code: 5, digests: 2},
	{name: "corrupt manifest", faults: []upstream.Fault{{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: anyManifest}}}, code: 5, digests: 2},
	{name: "corrupt file", faults: []upstream.Fault{{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: anyFile}}}, code: 5, digests: 2, says: []string{"dl.lab.test"}},
	{name: "short for good", faults: []upstream.Fault{{Kind: upstream.Short, After: upstream.Middle, Match: upstream.Match{Path: anyFile}}}, code: 5, digests: 2},
	{name: "moved tag", faults: []upstream.Fault{{Kind: upstream.MovedTag, Match: upstream.Match{Path: oneTag}}}, code: 4, digests: 2, says: []string{"cni-plugins:v1.6.2"}},
}

// Whatever the upstream does, a build has the right content or refuses with what
// it expected and what it got; and afterwards a rerun over the same cache has the
// right content, without asking for a complete blob again.
func TestUpstreamFaults(t *testing.T) {
	base := newFaultBase(t)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) { base.meet(t, f) })
	}
}

// faultBase is a small bundle to build again and again.
type faultBase struct {
	file, lock string
	volume     string // SHA-256 of the volume of a build without faults
	// cni is the object of the upstream that is the one file, with its SHA-256.
	cni, cniSHA256 string
}

// newFaultBase builds it once, which pins everything.
func newFaultBase(t *testing.T) *faultBase {
	t.Helper()
	cni, err := w.layout.Catalog.File(cniURL)
	if err != nil {
		t.Fatal(err)
	}
	base := &faultBase{
		file: write(t, "faults.yaml", fmt.Sprintf(faultContent, cniURL, cni.SHA256)),
		cni:  "/files/" + strings.TrimPrefix(cniURL, "https://"), cniSHA256: cni.SHA256,
	}
	dir := t.TempDir()
	reference := filepath.Join(dir, "reference")
	ok(t, "bundle", base.build(reference, filepath.Join(dir, "store"))...)
	base.lock = filepath.Join(reference, "lock.yaml")
	base.volume = hashFile(t, volumes(t, reference)[0])
	return base
}

const cniURL = "https://dl.lab.test/cni-plugins-linux-amd64-v1.6.2.tgz"

// faultContent is a small Content file, so that each of many builds is short; it
// lacks the URL and the SHA-256 of its file.
const faultContent = `apiVersion: naru/v1
kind: Content
name: faults
platforms: [linux/amd64]
images:
  - ref: docker.io/library/busybox:1.35
  - ref: ghcr.io/naru-lab/cni-plugins:v1.6.2
  - ref: registry.k8s.io/pause:3.10
files:
  - name: cni-plugins
    version: "1.6.2"
    sources:
      - {platform: linux/amd64, url: %q, sha256: %s}
`

// build is the command line of an unsigned build, which is the same to the byte
// whenever its content is.
func (b *faultBase) build(out, store string) []string {
	args := append([]string{"build", "--no-scan", "-f", b.file, "--unsigned", "--no-installer", "--cache", store, "--out", out}, w.source()...)
	if b.lock != "" {
		args = append(args, "--lock", b.lock, "--locked")
	}
	return args
}

// meet has a build meet a fault, and the next one a sound upstream.
func (b *faultBase) meet(t *testing.T, f fault) {
	defer w.up.ClearFaults()
	w.up.ClearFaults()
	w.up.ResetRequests()
	for _, one := range f.faults {
		if err := w.up.Inject(one); err != nil {
			t.Fatal(err)
		}
	}
	out, store := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "store")
	r, err := w.run(t.Context(), "bundle", b.build(out, store)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range w.up.Faults() {
		if status.Fired == 0 {
			t.Errorf("the fault %s never fired", status.Fault.Kind)
		}
	}
	if f.code == 0 {
		if r.code != 0 {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
	} else {
		refusal(t, r, f.code, f.says...)
		if got := digestsIn(r.stderr); got < f.digests {
			t.Errorf("the message names %d digests, want %d: %s", got, f.digests, r.stderr)
		}
		refetched(t, soundRequests())
		w.up.ClearFaults()
		w.up.ResetRequests()
		held := b.held(t, store)
		ok(t, "bundle", b.build(out, store)...)
		for _, r := range w.up.Requests() {
			if r.Complete() && held[r.Object()] {
				t.Errorf("%s was in the store and was fetched again", r.Object())
			}
		}
	}
	if got := hashFile(t, volumes(t, out)[0]); got != b.volume {
		t.Errorf("the volume is %s, without faults it is %s", got, b.volume)
	}
	refetched(t, soundRequests())
	t.Logf("%s after %s", outcome(r), r.took.Round(10*time.Millisecond))
}

// refetched fails when one run had complete content handed out twice.
func refetched(t *testing.T, requests []upstream.Request) {
	t.Helper()
	if again := upstream.Refetched(requests); len(again) > 0 {
		t.Errorf("complete content was fetched again: %v", again)
	}
}

// held are the objects, as [upstream.Request.Object] names them, whose content the
// store has. What the upstream had sent when a run was refused says nothing: the
// end of it may still have been under way.
func (b *faultBase) held(t *testing.T, store string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(store, "blobs", "sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for _, e := range entries {
		held["sha256:"+e.Name()] = true
		if e.Name() == b.cniSHA256 {
			held[b.cni] = true
		}
	}
	return held
}

func outcome(r result) string {
	if r.code == 0 {
		return "survived"
	}
	first, _, _ := strings.Cut(string(r.stderr), "\n")
	return "refused: " + first
}

// soundRequests are the requests that were not answered with other bytes than
// asked for: those that were have to be repeated.
func soundRequests() []upstream.Request {
	return slices.DeleteFunc(w.up.Requests(), func(r upstream.Request) bool {
		return r.Fault == string(upstream.Corrupt) || r.Fault == string(upstream.Short)
	})
}
