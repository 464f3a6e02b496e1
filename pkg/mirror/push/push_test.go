package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// registries are the two implementations that most tests run against: one keeps
// blobs for all repositories together, mounts nothing and has the referrers API;
// the other keeps them apart, mounts, and has no referrers API.
func registries(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	t.Run("ggcr", func(t *testing.T) { f(t, newLab(t, ggcr(t))) })
	t.Run("distribution", func(t *testing.T) { f(t, newLab(t, distribution(t))) })
}

func ggcr(t *testing.T) http.Handler {
	t.Helper()
	return registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
}

// distribution is docker-registry behind a proxy, so that faults can be put
// before it.
func distribution(t *testing.T) http.Handler {
	t.Helper()
	u, err := url.Parse("http://" + dockerRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
		ErrorLog:  log.New(io.Discard, "", 0),
		Transport: &http.Transport{MaxIdleConnsPerHost: 32},
	}
}

// small is a bundle of images that share a layer, an index and its referrers.
func small(t *testing.T) *bundle {
	b := newBundle(t)
	shared := random(100_000, 1)
	for i := range 5 {
		b.add(fmt.Sprintf("quay.io/team/app%d:v1", i), b.image("amd64", shared, random(1000, uint64(10+i))), "")
	}
	amd64 := b.image("amd64", shared, random(2000, 20))
	index := b.list(amd64, b.image("arm64", random(2000, 21)))
	b.add("docker.io/library/debian:12", index, "")
	b.add("docker.io/library/debian:bookworm", index, "")
	signature := b.image("", []byte("signature"))
	b.add("docker.io/library/debian:sha256-"+index.Digest.Encoded()+".sig", signature, index.Digest)
	sbom := b.referrer(amd64, "application/vnd.test.sbom")
	// Listed before its subject on purpose.
	b.index.Manifests = append(b.index.Manifests[:0:0], b.index.Manifests...)
	b.add("docker.io/library/debian@"+sbom.Digest.String(), sbom, amd64.Digest)
	b.add("naru/files/etcd/etcdctl:3.5.24+b1", b.image("", []byte("file")), "")
	return b
}

func TestPush(t *testing.T) {
	registries(t, func(t *testing.T, l *lab) {
		b := small(t)
		target := l.target()
		target.Base += "/mirror"
		p := plan(t, target, Options{}, b)
		result := push(t, p)
		if len(result.Pushed) != 10 || len(result.Skipped)+len(result.Mappings)+len(result.Orphans) != 0 {
			t.Errorf("result %+v", result)
		}
		if result.Blobs.Uploaded != p.Blobs || result.Blobs.Bytes != p.Bytes || result.Blobs.Sent != p.Bytes {
			t.Errorf("uploaded %+v, the plan has %d blobs of %d bytes", result.Blobs, p.Blobs, p.Bytes)
		}
		for repository, tag := range map[string]string{"quay.io/team/app0": "v1", "naru/files/etcd/etcdctl": "3.5.24_b1"} {
			if data := l.manifestBytes("mirror/"+repository, tag); b.blobs[digest.FromBytes(data)] == nil {
				t.Errorf("%s: %s is not what was pushed", repository, data)
			}
		}
		repo, err := remote.NewRepository(target.Base + "/docker.io/library/debian")
		if err != nil {
			t.Fatal(err)
		}
		repo.PlainHTTP = true
		var found []ocispec.Descriptor
		subject := p.Artifacts[len(p.Artifacts)-1].Subject
		err = repo.Referrers(t.Context(), ocispec.Descriptor{Digest: subject}, "", func(list []ocispec.Descriptor) error {
			found = append(found, list...)
			return nil
		})
		if err != nil || len(found) != 1 {
			t.Errorf("referrers of %s: %v, %v", subject, found, err)
		}
		l.heal()
		again := push(t, plan(t, target, Options{}, b))
		if len(again.Skipped) != 10 || len(again.Pushed) != 0 || l.count("POST")+l.count("PUT") != 0 {
			t.Errorf("second push: %+v", again)
		}
	})
}

func TestUploadOnceAndMount(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	shared := random(500_000, 1)
	for i := range 12 {
		b.add(fmt.Sprintf("quay.io/team/app%d:v1", i), b.image("amd64", shared), "")
	}
	result := push(t, plan(t, l.target(), Options{}, b))
	// One shared layer and one shared config: all the images are the same.
	if result.Blobs.Uploaded != 2 || result.Blobs.Mounted != 22 || l.count("PUT", "/blobs/uploads/") != 2 {
		t.Errorf("blobs %+v", result.Blobs)
	}
}

func TestOrderSubjectsFirst(t *testing.T) {
	b := newBundle(t)
	img := b.image("amd64", []byte("x"))
	first := b.referrer(img, "a/b")
	second := b.referrer(first, "c/d")
	b.add("quay.io/a/b@"+second.Digest.String(), second, first.Digest)
	b.add("quay.io/a/b@"+first.Digest.String(), first, img.Digest)
	b.add("quay.io/a/b:1", img, "")
	p := plan(t, newLab(t, ggcr(t)).target(), Options{}, b)
	var got []digest.Digest
	for _, a := range p.Artifacts {
		got = append(got, a.Descriptor.Digest)
	}
	if diff := cmp.Diff([]digest.Digest{img.Digest, first.Digest, second.Digest}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilterKeepsReferrers(t *testing.T) {
	b := small(t)
	p := plan(t, newLab(t, ggcr(t)).target(), Options{Filter: func(ref string, _ ocispec.Descriptor) bool {
		return strings.HasSuffix(ref, "debian:12")
	}}, b)
	if len(p.Artifacts) != 3 {
		t.Errorf("kept %d artifacts, want the index, its signature and the SBOM of its child", len(p.Artifacts))
	}
	if diff := cmp.Diff([]string{"docker.io/library/debian"}, p.Repositories()); diff != "" {
		t.Error(diff)
	}
}

func TestSparse(t *testing.T) {
	registries(t, func(t *testing.T, l *lab) {
		b := newBundle(t)
		amd64, arm64 := b.image("amd64", random(100, 1)), b.image("arm64", random(100, 2))
		gone := b.image("s390x", random(100, 3))
		one, two := b.list(amd64, gone), b.list(amd64, arm64, gone)
		delete(b.blobs, gone.Digest)
		b.add("quay.io/a/one:1", one, "")
		b.add("quay.io/a/two:1", two, "")
		signature := b.image("", []byte("sig"))
		b.add("quay.io/a/two:sha256-"+two.Digest.Encoded()+".sig", signature, two.Digest)
		p := plan(t, l.target(), Options{ImageJobs: 1}, b)
		result := push(t, p)
		if len(result.Mappings) != 2 || len(result.Pushed) != 1 || len(result.Orphans) != 1 {
			t.Fatalf("result %+v", result)
		}
		m := result.Mappings[0]
		if m.Original != one.Digest || m.Pushed != amd64.Digest || m.Reason != ReasonSparseRefused || m.Ref != "quay.io/a/one:1" {
			t.Errorf("one platform: %+v", m)
		}
		if n := l.count("PUT", "/quay.io/a/two/manifests/1"); n != 1 {
			t.Errorf("the second sparse index was tried, though the registry had refused one: %d", n)
		}
		var idx ocispec.Index
		if err := json.Unmarshal(l.manifestBytes("quay.io/a/two", "1"), &idx); err != nil {
			t.Fatal(err)
		}
		if len(idx.Manifests) != 2 || idx.Annotations[AnnotationOriginal] != two.Digest.String() || idx.Manifests[1].Platform.Architecture != "arm64" {
			t.Errorf("index %+v", idx)
		}
		if o := result.Orphans[0]; o.Subject != two.Digest || o.Outcome != OutcomePushed {
			t.Errorf("orphan %+v", o)
		}
		l.heal()
		again := push(t, plan(t, l.target(), Options{}, b))
		if len(again.Skipped) != 3 || l.count("PUT")+l.count("POST") != 0 {
			t.Errorf("second push: %+v", again)
		}
		if diff := cmp.Diff(result.Mappings, again.Mappings); diff != "" {
			t.Error(diff)
		}
		if len(again.Orphans) != 1 {
			t.Errorf("second push, orphans: %+v", again.Orphans)
		}
	})
}

func TestSparseTakenWhereAccepted(t *testing.T) {
	// The registry has the other child already.
	l := newLab(t, distribution(t))
	b, other := newBundle(t), newBundle(t)
	gone := other.image("s390x", random(100, 3))
	other.add("quay.io/a/one:full", gone, "")
	push(t, plan(t, l.target(), Options{}, other))
	idx := b.list(b.image("amd64", random(100, 1)), gone)
	b.add("quay.io/a/one:1", idx, "")
	result := push(t, plan(t, l.target(), Options{}, b))
	if len(result.Mappings) != 0 || len(result.Pushed) != 1 {
		t.Errorf("result %+v", result)
	}
}

func TestRefusedReferrerIsReported(t *testing.T) {
	l := newLab(t, ggcr(t))
	b := newBundle(t)
	img := b.image("amd64", []byte("x"))
	sbom := b.referrer(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("gone"), Size: 4}, "a/b")
	b.add("quay.io/a/b:1", img, "")
	b.add("quay.io/a/b@"+sbom.Digest.String(), sbom, digest.FromString("gone"))
	l.fail(1<<30, method("PUT", "manifests/"+sbom.Digest.String()), answerWith(404, "MANIFEST_UNKNOWN"))
	p := plan(t, l.target(), Options{}, b)
	result := push(t, p)
	if len(result.Orphans) != 1 || result.Orphans[0].Outcome != OutcomeRefused || len(result.Pushed) != 1 {
		t.Errorf("result %+v", result)
	}
	report, err := p.Check(t.Context())
	if err != nil || len(report.Orphans) != 1 {
		t.Errorf("check %+v, %v", report, err)
	}
}

func TestReferrerIndexIsMadeUpForAfterACut(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	img := b.image("amd64", []byte("x"))
	sbom := b.referrer(img, "a/b")
	b.add("quay.io/a/b:1", img, "")
	b.add("quay.io/a/b@"+sbom.Digest.String(), sbom, img.Digest)
	// The referrer goes up, the index of the tag schema does not.
	l.fail(1<<30, method("PUT", "manifests/sha256-"+img.Digest.Encoded()), answerWith(403, "DENIED"))
	if _, err := plan(t, l.target(), Options{}, b).Execute(t.Context()); err == nil {
		t.Fatal("the index of referrers was refused, and that went unnoticed")
	}
	l.heal()
	push(t, plan(t, l.target(), Options{}, b))
	if l.count("PUT", "manifests/sha256-"+img.Digest.Encoded()) != 1 {
		t.Error("the referrer stays unlisted")
	}
}

func TestMovedTagIsPushedOver(t *testing.T) {
	registries(t, func(t *testing.T, l *lab) {
		older, newer := newBundle(t), newBundle(t)
		older.add("quay.io/a/b:1", older.image("amd64", []byte("old")), "")
		newer.add("quay.io/a/b:1", newer.image("amd64", []byte("new")), "")
		push(t, plan(t, l.target(), Options{}, older))
		p := plan(t, l.target(), Options{}, newer)
		report, err := p.Check(t.Context())
		if err != nil || len(report.Findings) == 0 {
			t.Fatalf("check before the push: %+v, %v", report, err)
		}
		push(t, p)
		both := plan(t, l.target(), Options{}, older, newer)
		if len(both.Conflicts) != 1 || len(both.Artifacts) != 1 {
			t.Errorf("union: %+v", both.Conflicts)
		}
	})
}

func TestIncompleteBundleIsRefusedBeforeTheFirstByte(t *testing.T) {
	b := newBundle(t)
	layer := random(100, 1)
	b.add("quay.io/a/b:1", b.image("amd64", layer), "")
	delete(b.blobs, digest.FromBytes(layer))
	l := newLab(t, ggcr(t))
	_, err := NewPlan(t.Context(), []Content{b}, l.target(), Options{})
	var e *Error
	if !errors.As(err, &e) || e.Side != SideSource || !errors.Is(err, fs.ErrNotExist) || e.Ref != "quay.io/a/b:1" || e.Digest != digest.FromBytes(layer) {
		t.Errorf("error %v", err)
	}
}

func TestDamagedSourceIsNotRetried(t *testing.T) {
	registries(t, func(t *testing.T, l *lab) {
		b := newBundle(t)
		layer := random(300_000, 1)
		b.add("quay.io/a/b:1", b.image("amd64", layer), "")
		b.damaged[digest.FromBytes(layer)] = true
		p := plan(t, l.target(), Options{ChunkSize: 100_000}, b)
		_, err := p.Execute(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Side != SideSource || !errors.Is(err, errDamaged) || e.Ref == "" {
			t.Errorf("error %v", err)
		}
		if n := l.count("POST", "/blobs/uploads/"); n > 2 {
			t.Errorf("uploads were begun %d times", n)
		}
		if n := l.count("PUT", "/manifests/"); n != 0 {
			t.Errorf("%d manifests were pushed over damaged content", n)
		}
	})
}

func TestCancelStopsAtOnce(t *testing.T) {
	l := newLab(t, ggcr(t))
	ctx, cancel := context.WithCancel(t.Context())
	l.fail(1<<30, method("PUT", "blobs/uploads"), func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body) // the end of the client is seen after that alone
		cancel()
		<-r.Context().Done()
		return true
	})
	p := plan(t, l.target(), Options{}, small(t))
	start := time.Now()
	if _, err := p.Execute(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	l.heal()
	push(t, p)
}

func TestRerunOf300IsFast(t *testing.T) {
	registries(t, func(t *testing.T, l *lab) {
		b := newBundle(t)
		for i := range 300 {
			b.add(fmt.Sprintf("quay.io/team/app%d:v1", i), b.image("amd64", []byte(fmt.Sprint(i))), "")
		}
		p := plan(t, l.target(), Options{}, b)
		push(t, p)
		l.heal()
		start := time.Now()
		result, err := plan(t, l.target(), Options{}, b).Execute(t.Context())
		if err != nil || len(result.Skipped) != 300 {
			t.Fatalf("%+v, %v", result, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("300 artifacts that are there took %s", took)
		} else {
			t.Logf("300 present: %s, first push: see above", took)
		}
		if n := l.count("HEAD"); n != 300 {
			t.Errorf("%d HEADs", n)
		}
	})
}

func TestPlanIsJSON(t *testing.T) {
	p := plan(t, newLab(t, ggcr(t)).target(), Options{}, small(t))
	data, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(data), `"repository":"docker.io/library/debian"`) {
		t.Errorf("%s, %v", data, err)
	}
}
