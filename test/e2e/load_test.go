//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"naru/test/lab/layout"
	"naru/test/lab/workload"
)

// load is a workload and a bundle of it, signed, in one volume.
type load struct {
	layout *layout.Layout
	args   []string // the command line that builds it
	media  string
	first  result // of the first build
}

// newLoad generates a workload, puts it into the simulated internet and builds it.
func newLoad(t *testing.T, shape workload.Shape) *load {
	t.Helper()
	l, err := workload.Generate(t.Context(), workload.Options{CacheDir: w.labDir, Shape: shape, Seed: 1, Material: workload.Material(w.layout)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.up.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n := &load{layout: l, media: filepath.Join(dir, "media")}
	n.args = append([]string{"build", "--no-scan", "-f", filepath.Join(l.Dir, workload.ContentFile), "--key", w.key, "--no-installer",
		"--cache", filepath.Join(dir, "store"), "--out", n.media}, w.source()...)
	n.first = ok(t, "bundle", n.args...)
	return n
}

// size is what a bundle's volumes come to, in bytes.
func (n *load) size(t *testing.T) int64 {
	t.Helper()
	var total int64
	for _, path := range volumes(t, n.media) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	return total
}

// push is the command line that pushes the bundle.
func (n *load) push(registry string) []string {
	return []string{"push", n.media, "--allow-unscanned", "--key", w.pub, "--to", registry, "--plain-http", "--progress", "none", "--output", "json"}
}

// best runs a program three times and returns the fastest run.
func best(t *testing.T, name string, args ...string) result {
	t.Helper()
	fastest := ok(t, name, args...)
	for range 2 {
		if r := ok(t, name, args...); r.took < fastest.took {
			fastest = r
		}
	}
	return fastest
}

// A rerun with nothing to do ends within two seconds for 300 images. With their
// signatures they are 600 artifacts, and some 3,000 tags, manifests and blobs that the
// registry is asked for: what that takes is mostly the registry's. Where the machine is so
// busy that a plain client, asking as often, takes two seconds too, the push may take half
// as long again.
func TestRerunIsFast(t *testing.T) {
	const limit, images = 2 * time.Second, 300
	n := newLoad(t, workload.Small())
	var b built
	okJSON(t, &b, "bundle", n.args...)
	if !b.UpToDate || b.Images < images {
		t.Fatalf("%d images, up to date %v: this is no rerun of %d", b.Images, b.UpToDate, images)
	}
	w.up.ResetRequests()
	again := best(t, "bundle", n.args...)
	if asked := len(w.up.Requests()); asked > 0 {
		t.Errorf("the reruns asked the upstream %d times", asked)
	}

	registry := startRegistry(t)
	full := ok(t, "install", n.push(registry)...)
	var p struct {
		Push struct {
			Blobs   struct{ Uploaded int }
			Skipped []struct{ Ref string }
		}
		Check struct {
			Checked  int
			Compared []compared
		}
	}
	okJSON(t, &p, "install", n.push(registry)...)
	if p.Push.Blobs.Uploaded > 0 {
		t.Errorf("the second push uploaded %d blobs", p.Push.Blobs.Uploaded)
	}
	if len(p.Push.Skipped) < 2*images || p.Check.Checked < 10*images {
		t.Errorf("the second push skipped %d artifacts and compared %d digests, want %d and all that is below them", len(p.Push.Skipped), p.Check.Checked, 2*images)
	}
	pushed := best(t, "install", n.push(registry)...)
	plain := askPlainly(t, registry, p.Check.Compared, 8*images)

	t.Logf("%d images: bundle build %.2f s, again %.2f s (%.2f s of CPU); install push %.2f s, again %.2f s (%.2f s of CPU) with %d digests compared; a plain client asks %d times in %.2f s",
		images, n.first.took.Seconds(), again.took.Seconds(), again.cpu.Seconds(), full.took.Seconds(), pushed.took.Seconds(), pushed.cpu.Seconds(), p.Check.Checked, 8*images, plain.Seconds())
	if again.took > limit || pushed.took > max(limit, plain*3/2) {
		t.Errorf("a rerun takes longer than %s", limit)
	}
}

// compared is a manifest that a push compared.
type compared struct{ Repository, Digest string }

// askPlainly has a client of net/http ask a registry for manifests, eight at a time, and
// returns how long that takes.
func askPlainly(t *testing.T, registry string, list []compared, times int) time.Duration {
	t.Helper()
	const jobs = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: jobs}}
	defer client.CloseIdleConnections()
	var g errgroup.Group
	g.SetLimit(jobs)
	start := time.Now()
	for i := range times {
		g.Go(func() error {
			c := list[i%len(list)]
			req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+registry+"/v2/"+c.Repository+"/manifests/"+c.Digest, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Accept", "*/*")
			for _, kind := range []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.DockerManifestSchema2, types.DockerManifestList} {
				req.Header.Add("Accept", string(kind))
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("HEAD %s: %s", req.URL, resp.Status)
			}
			return errors.Join(err, resp.Body.Close())
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// Each program stays below 200 MB of resident memory, whatever the content.
func TestMemory(t *testing.T) {
	const limit = 200e6
	n := newLoad(t, workload.Large(1<<30))
	dir := t.TempDir()
	peaks := map[string]int64{
		"build":  peakOf(t, "bundle", append(n.args, "--out", filepath.Join(dir, "media"), "--cache", filepath.Join(dir, "store"))...),
		"verify": peakOf(t, "install", "verify", n.media, "--key", w.pub, "--progress", "none"),
		"push":   peakOf(t, "install", n.push(startRegistry(t))...),
		"serve":  servePeak(t, n),
	}
	size := n.size(t)
	for what, peak := range peaks {
		t.Logf("%s of %d MB: %d MB at the peak", what, size/1e6, peak/1e6)
		if peak > limit || peak == 0 {
			t.Errorf("%s takes %d MB", what, peak/1e6)
		}
	}
}

// peakOf runs a program that has to succeed and returns the peak of its resident
// memory, in bytes, as the kernel has it: what it allocated and what was mapped in of
// its file. What the kernel says of a process that ended will not do: it counts the
// memory of this one, from before the program took its place.
func peakOf(t *testing.T, name string, args ...string) int64 {
	t.Helper()
	cmd := w.command(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, watched := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var peak int64
		for {
			select {
			case <-ended:
				watched <- peak
				return
			case <-tick.C:
				peak = max(peak, highWater(cmd.Process.Pid))
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	peak := <-watched
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, args[0], err, stderr.String())
	}
	return peak
}

// highWater is the peak of resident memory of a process so far, in bytes; 0 when it
// has ended.
func highWater(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, value, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(value, &kib); err != nil {
		return 0
	}
	return kib << 10
}

// servePeak has install serve hand out every blob, eight at a time, and returns
// what memory it took.
func servePeak(t *testing.T, n *load) int64 {
	t.Helper()
	depot := startDepot(t, n.media, "--allow-unscanned", "--listen", "127.0.0.1:0")
	client := depot.client(t)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for _, path := range n.blobs(t) {
		group.Go(func() error { return fetch(ctx, client, "https://"+depot.addr+path) })
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	return highWater(depot.cmd.Process.Pid)
}

// blobs are the paths in the depot of the blobs of every image.
func (n *load) blobs(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, image := range n.layout.Catalog.Images {
		data, err := n.layout.Manifest(image.Digest)
		if err != nil {
			t.Fatal(err)
		}
		var m struct{ Layers []struct{ Digest string } }
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		for _, layer := range m.Layers {
			paths = append(paths, "/v2/"+repository(image.Ref)+"/blobs/"+layer.Digest)
		}
	}
	if len(paths) == 0 {
		t.Fatal("the workload has no layers")
	}
	return paths
}

// fetch gets a URL and throws away what it holds.
func fetch(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// client trusts the depot's authority alone.
func (s *server) client(t *testing.T) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}
