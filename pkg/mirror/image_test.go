package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/mirror"
	"naru/pkg/mirror/remote"
	"naru/test/lab/upstream"
)

// tag is the one most tests publish.
const tag = ":1"

func want(platforms ...ocispec.Platform) mirror.Image {
	return mirror.Image{Ref: repo + tag, Platforms: platforms}
}

func TestSparseIndexIsKeptByteForByte(t *testing.T) {
	w := newWorld(t)
	a, b := w.image(amd64, "amd64"), w.image(arm64, "arm64")
	// Odd white space and a field nobody knows: what is re-encoded would differ.
	raw := append([]byte(" {\n\t\"x-unknown\": [1 ],\n\"schemaVersion\":2,\"mediaType\":\""+ocispec.MediaTypeImageIndex+"\",\"manifests\":"),
		append(must(json.Marshal([]ocispec.Descriptor{a, b, w.attestation(a), w.attestation(b)}))(t), "}\n\n"...)...)
	index := must(w.Bytes(ocispec.MediaTypeImageIndex, raw))(t)
	w.publish(tag, index)
	w.open()
	m, st := w.mirror(mirror.Options{})
	got := fetch(t, m, want(amd64))

	if got.Descriptor.Digest != index.Digest || got.Descriptor.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("resolved to %v, want index %s", got.Descriptor, index.Digest)
	}
	if kept := must(st.Read(t.Context(), index.Digest, 1<<20))(t); !bytes.Equal(kept, raw) {
		t.Errorf("the index was rewritten:\n%s", kept)
	}
	if len(got.Platforms) != 1 || got.Platforms[0].Descriptor.Digest != a.Digest {
		t.Errorf("platforms %v, want %s alone", got.Platforms, a.Digest)
	}
	if n := len(got.Manifests); n != 3 { // the index, the image, its attestation
		t.Errorf("%d manifests, want 3: %v", n, got.Manifests)
	}
	if _, ok := st.Size(b.Digest); ok {
		t.Error("the manifest of a platform that nobody wants was fetched")
	}
}

func TestBuildkitAttestationComesWithItsImage(t *testing.T) {
	w := newWorld(t)
	a, b := w.image(amd64, "amd64"), w.image(arm64, "arm64")
	attA, attB := w.attestation(a), w.attestation(b)
	w.publish(tag, must(w.Multi("", []ocispec.Descriptor{attA, a, b, attB}))(t))
	w.open()
	m, st := w.mirror(mirror.Options{})
	got := fetch(t, m, want(arm64))
	have := digests(got.Manifests)
	if !have[attB.Digest] || have[attA.Digest] {
		t.Errorf("attestations carried: of arm64 %v (want true), of amd64 %v (want false)", have[attB.Digest], have[attA.Digest])
	}
	for _, p := range got.Platforms {
		if p.Platform.OS == "unknown" {
			t.Error("an attestation was taken for a platform")
		}
	}
	for _, d := range got.Blobs {
		if !st.Has(d.Digest, d.Size) {
			t.Errorf("blob %s is missing", d.Digest)
		}
	}
}

func TestUnsupportedManifests(t *testing.T) {
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + digest.FromString("x").String() + `","size":%SIZE%}`
	config := `{"mediaType":"` + ocispec.MediaTypeImageConfig + `","digest":"` + digest.FromString("{}").String() + `","size":2}`
	for name, doc := range map[string]string{
		"schema 1":        `{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[{"blobSum":"x"}],"history":[]}`,
		"schema 1 posing": `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + config + `,"fsLayers":[{"blobSum":"x"}]}`,
		"no config":       `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","layers":[]}`,
		"unknown type":    `{"schemaVersion":2,"mediaType":"text/html"}`,
		"negative size":   `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + config + `,"layers":[` + strings.ReplaceAll(layer, "%SIZE%", "-1099511627776") + `]}`,
		"absurd size":     `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + config + `,"layers":[` + strings.ReplaceAll(layer, "%SIZE%", "9000000000000000000") + `]}`,
		"digest of sha512": `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"digest":"` +
			digest.SHA512.FromString("x").String() + `","size":1},"layers":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.open()
			d := push(t, w, ocispec.MediaTypeImageManifest, []byte(doc))
			m, _ := w.mirror(mirror.Options{})
			img := want(amd64)
			img.Ref = repo + "@" + d.String()
			if _, err := m.ResolveImage(t.Context(), img); !errors.Is(err, mirror.ErrUnsupportedManifest) {
				t.Errorf("got %v, want ErrUnsupportedManifest", err)
			}
		})
	}
}

func TestDigestThatIsAPath(t *testing.T) {
	w := newWorld(t)
	w.open()
	m, st := w.mirror(mirror.Options{})
	index := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{"digest":"sha256:../../x","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`
	img := want(amd64)
	img.Ref = repo + "@" + must(st.PutBytes(t.Context(), []byte(index)))(t).String()
	if _, err := m.ResolveImage(t.Context(), img); !errors.Is(err, mirror.ErrUnsupportedManifest) {
		t.Errorf("got %v, want ErrUnsupportedManifest", err)
	}
}

func TestSingleImageOfAnotherPlatform(t *testing.T) {
	w := newWorld(t)
	w.publish(tag, w.image(arm64, "arm64"))
	w.open()
	m, _ := w.mirror(mirror.Options{})
	_, err := m.ResolveImage(t.Context(), want(amd64))
	var missing *mirror.MissingPlatformError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want a *MissingPlatformError", err)
	}
	if diff := cmp.Diff(&mirror.MissingPlatformError{Ref: repo + tag, Want: "linux/amd64", Have: []string{"linux/arm64"}}, missing); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMissingPlatformOfIndex(t *testing.T) {
	w := newWorld(t)
	w.publish(tag, must(w.Multi("", []ocispec.Descriptor{w.image(amd64, "amd64")}))(t))
	w.open()
	m, _ := w.mirror(mirror.Options{})
	for name, platforms := range map[string][]ocispec.Platform{"another": {amd64, arm64}, "none wanted": nil} {
		_, err := m.ResolveImage(t.Context(), want(platforms...))
		var missing *mirror.MissingPlatformError
		if !errors.As(err, &missing) {
			t.Errorf("%s: got %v, want a *MissingPlatformError", name, err)
		}
	}
}

func TestMovedTagNamesBothDigests(t *testing.T) {
	w := newWorld(t)
	old, now := w.image(amd64, "old"), w.image(amd64, "new")
	w.publish(":old", old)
	w.publish(tag, now)
	w.open()
	m, _ := w.mirror(mirror.Options{})
	img := want(amd64)
	img.Pinned = old.Digest
	_, err := m.ResolveImage(t.Context(), img)
	var moved *mirror.MovedTagError
	if !errors.As(err, &moved) || moved.Pinned != old.Digest || moved.Now != now.Digest {
		t.Fatalf("got %v, want a *MovedTagError from %s to %s", err, old.Digest, now.Digest)
	}
	for _, d := range []digest.Digest{old.Digest, now.Digest} {
		if !strings.Contains(err.Error(), d.String()) {
			t.Errorf("%q does not name %s", err, d)
		}
	}
}

// signed publishes an image with all kinds of company and returns its index.
func signed(w *world) ocispec.Descriptor {
	a, b := w.image(amd64, "amd64"), w.image(arm64, "arm64")
	index := must(w.Multi("", []ocispec.Descriptor{a, b, w.attestation(a)}))(w.t)
	w.publish(tag, index)
	sbom := w.artifact(a, "sbom")
	w.artifact(sbom, "signature")
	w.artifact(index, "provenance")
	w.artifact(b, "sbom")
	w.publish(":"+strings.Replace(index.Digest.String(), ":", "-", 1)+".sig", w.image(ocispec.Platform{}, "cosign"))
	return index
}

func TestDiscoveredAndPinnedReferrersAreTheSame(t *testing.T) {
	w := newWorld(t)
	index := signed(w)
	w.open()
	m, _ := w.mirror(mirror.Options{})
	img := want(amd64)
	img.Referrers = true
	found := fetch(t, m, img)
	if len(found.Referrers) != 4 { // the SBOM and its signature, the provenance, the cosign tag
		t.Fatalf("%d referrers, want 4: %v", len(found.Referrers), found.Referrers)
	}

	// The same from the lock, with a cold cache, and then with a warm one and no network.
	img.Pinned = index.Digest
	for i := len(found.Referrers) - 1; i >= 0; i-- { // in any order
		r := found.Referrers[i]
		img.PinnedReferrers = append(img.PinnedReferrers, mirror.PinnedReferrer(r.Descriptor.Digest, r.Subject, r.Tag))
	}
	w.cache = t.TempDir()
	cold, _ := w.mirror(mirror.Options{})
	if diff := cmp.Diff(found, fetch(t, cold, img)); diff != "" {
		t.Errorf("pinned differs from discovered (-discovered +pinned):\n%s", diff)
	}
	if err := w.up.Close(); err != nil {
		t.Fatal(err)
	}
	w.up.ResetRequests()
	if diff := cmp.Diff(found, fetch(t, cold, img)); diff != "" {
		t.Errorf("from the cache differs (-discovered +cached):\n%s", diff)
	}
	if n := len(w.up.Requests()); n != 0 {
		t.Errorf("a pinned and cached image cost %d requests, want 0", n)
	}
}

func TestDocumentsThatBreakOffAreAskedForAgain(t *testing.T) {
	for _, kind := range []upstream.Kind{upstream.Reset, upstream.Truncate} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			signed(w)
			w.open()
			broken := upstream.Fault{Kind: kind, After: upstream.Middle, When: upstream.When{Times: 1, Per: upstream.PerPath}}
			if err := w.up.Inject(broken); err != nil {
				t.Fatal(err)
			}
			m, _ := w.mirror(mirror.Options{})
			img := want(amd64)
			img.Referrers = true
			if got := fetch(t, m, img); len(got.Referrers) != 4 {
				t.Errorf("%d referrers, want 4: %v", len(got.Referrers), got.Referrers)
			}
			w.up.ClearFaults()
			broken.Match.Path, broken.When = "/manifests/sha256:", upstream.When{}
			if err := w.up.Inject(broken); err != nil {
				t.Fatal(err)
			}
			w.cache = t.TempDir()
			cold, _ := w.mirror(mirror.Options{})
			if _, err := cold.ResolveImage(t.Context(), img); !remote.IsTemporary(err) {
				t.Errorf("a manifest that always breaks off: %v", err)
			}
		})
	}
}

func TestNoReferrersPinnedAsksForNone(t *testing.T) {
	w := newWorld(t)
	index := signed(w)
	w.open()
	m, _ := w.mirror(mirror.Options{})
	img := want(amd64)
	img.Referrers, img.Pinned, img.PinnedReferrers = true, index.Digest, []mirror.Referrer{}
	if got := fetch(t, m, img); len(got.Referrers) != 0 {
		t.Errorf("referrers %v came that the lock does not have", got.Referrers)
	}
	for _, r := range w.up.Requests() {
		if strings.Contains(r.Path, "/referrers/") {
			t.Errorf("upstream was asked for %s", r.Path)
		}
	}
}

func TestRottenCacheIsFetchedAgain(t *testing.T) {
	w := newWorld(t)
	index := signed(w)
	w.open()
	m, _ := w.mirror(mirror.Options{})
	img := want(amd64)
	first := fetch(t, m, img)
	img.Pinned = index.Digest
	for _, d := range []digest.Digest{index.Digest, first.Platforms[0].Descriptor.Digest} {
		w.rot(d)
		if diff := cmp.Diff(first, fetch(t, m, img)); diff != "" {
			t.Errorf("after the manifest %s rotted (-before +after):\n%s", d, diff)
		}
	}
}

func TestFetchBlobsOfCancelledContext(t *testing.T) {
	w := newWorld(t)
	w.publish(tag, w.image(amd64, "x"))
	w.open()
	m, _ := w.mirror(mirror.Options{})
	list := requests(must(m.ResolveImage(t.Context(), want(amd64)))(t))
	if err := m.FetchBlobs(cancelled(t), list); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if missing, size := m.Missing(list); len(missing) == 0 || size <= 0 {
		t.Errorf("%d blobs of %d bytes missing, want the layer", len(missing), size)
	}
}

func TestWrongBytesAreRefusedWithBothDigests(t *testing.T) {
	w := newWorld(t)
	desc := w.image(amd64, strings.Repeat("x", 1000))
	w.publish(tag, desc)
	w.open()
	m, st := w.mirror(mirror.Options{})
	list := requests(must(m.ResolveImage(t.Context(), want(amd64)))(t))
	bad, _ := m.Missing(list)
	if len(bad) != 1 {
		t.Fatalf("%d blobs missing, want the layer", len(bad))
	}
	layer := bad[0].Descriptor
	corrupt(t, w, layer.Digest)
	err := m.FetchBlobs(t.Context(), list)
	var mismatch *mirror.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Want != layer.Digest || mismatch.Got == "" || mismatch.Got == mismatch.Want {
		t.Fatalf("got %v, want a *MismatchError of %s", err, layer.Digest)
	}
	if !strings.Contains(mismatch.Source, repo) {
		t.Errorf("the error names %q as the source, want something of %s", mismatch.Source, repo)
	}
	if st.Has(layer.Digest, layer.Size) {
		t.Error("the store believes the wrong bytes")
	}
}

func TestOnBlobIsCalledOnceForEach(t *testing.T) {
	w := newWorld(t)
	w.publish(tag, w.image(amd64, "x"))
	w.open()
	var mu sync.Mutex
	calls := map[digest.Digest]int{}
	stop := errors.New("stop")
	var fail error
	m, _ := w.mirror(mirror.Options{OnBlob: func(_ context.Context, d ocispec.Descriptor) error {
		mu.Lock()
		defer mu.Unlock()
		calls[d.Digest]++
		return fail
	}})
	list := requests(must(m.ResolveImage(t.Context(), want(amd64)))(t))
	for run := 1; run <= 2; run++ { // also for what is there
		if err := m.FetchBlobs(t.Context(), append(list, list...)); err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if n := calls[r.Descriptor.Digest]; n != run {
				t.Errorf("run %d: %d calls for %s", run, n, r.Descriptor.Digest)
			}
		}
	}
	fail = stop
	if err := m.FetchBlobs(t.Context(), list); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of OnBlob", err)
	}
}

func TestVariantsOfPlatforms(t *testing.T) {
	v8 := ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	v6 := ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	v7 := ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	for _, c := range []struct {
		have, want ocispec.Platform
		ok         bool
	}{{v8, arm64, true}, {arm64, v8, true}, {v7, v7, true}, {v6, v7, false}, {v7, ocispec.Platform{OS: "linux", Architecture: "arm"}, true}} {
		w := newWorld(t)
		w.publish(tag, must(w.Multi("", []ocispec.Descriptor{w.image(c.have, "x")}))(t))
		w.open()
		m, _ := w.mirror(mirror.Options{})
		_, err := m.ResolveImage(t.Context(), want(c.want))
		if (err == nil) != c.ok {
			t.Errorf("an image for %v serves %v: %v, want %v", c.have, c.want, err, c.ok)
		}
	}
}
