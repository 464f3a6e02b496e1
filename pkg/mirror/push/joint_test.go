package push

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// signedBy is a bundle of one image with signatures under cosign's tag; a signature says
// who made it before its first dot.
func signedBy(t *testing.T, signatures ...string) (*bundle, string) {
	return signatureList(t, "payload of ", nil, signatures...)
}

// signatureList is signedBy with the beginning of payloads and more annotations for signatures.
func signatureList(t *testing.T, payload string, annotations map[string]string, signatures ...string) (*bundle, string) {
	b := newBundle(t)
	image := b.image("amd64", random(100, 1))
	b.add("quay.io/a/app:1", image, "")
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	m.Config = b.json(ocispec.MediaTypeImageConfig, map[string]any{"of": signatures})
	for _, s := range signatures {
		l := b.blob("application/vnd.dev.cosign.simplesigning.v1+json", []byte(payload+image.Digest.String()))
		l.Annotations = map[string]string{annotationSignature: base64.StdEncoding.EncodeToString([]byte(s))}
		maps.Copy(l.Annotations, annotations)
		m.Layers = append(m.Layers, l)
	}
	tag := strings.Replace(image.Digest.String(), ":", "-", 1) + ".sig"
	b.add("quay.io/a/app:"+tag, b.json(ocispec.MediaTypeImageManifest, m), image.Digest)
	return b, tag
}

// sameMaker is a SameSigner for signatures of signedBy.
func sameMaker(payload, a, b []byte) bool {
	makerOfA, _, _ := bytes.Cut(a, []byte("."))
	makerOfB, _, _ := bytes.Cut(b, []byte("."))
	return bytes.HasPrefix(payload, []byte("payload of ")) && bytes.Equal(makerOfA, makerOfB)
}

// signaturesUnder reads who signed, as cosign would.
func (l *lab) signaturesUnder(tag string) (out []string) {
	l.t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(l.manifestBytes("quay.io/a/app", tag), &m); err != nil {
		l.t.Fatal(err)
	}
	for _, layer := range m.Layers {
		s, err := base64.StdEncoding.DecodeString(layer.Annotations[annotationSignature])
		if err != nil {
			l.t.Fatal(err)
		}
		out = append(out, string(s))
	}
	slices.Sort(out)
	return out
}

func TestSignaturesOfOthersStay(t *testing.T) {
	l := newLab(t, distribution(t))
	opts := Options{SameSigner: sameMaker}
	first, tag := signedBy(t, "old.1")
	push(t, plan(t, l.target(), opts, first))

	second, _ := signedBy(t, "new.1", "upstream.1")
	p := plan(t, l.target(), opts, second)
	result := push(t, p)
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"new.1", "old.1", "upstream.1"}) {
		t.Fatalf("signatures %v", got)
	}
	if len(result.Mappings) != 1 || result.Mappings[0].Reason != ReasonJoined || len(result.Pushed) != 0 {
		t.Errorf("result %+v", result)
	}
	under := result.Mappings[0].Pushed
	if got := l.manifestBytes("quay.io/a/app", tag); under != digest.FromBytes(got) {
		t.Errorf("the mapping says %s, under the tag is %s", under, digest.FromBytes(got))
	}

	// Either bundle finds itself there now, and neither changes anything.
	for _, b := range []*bundle{second, first} {
		p := plan(t, l.target(), opts, b)
		if pending, err := p.Pending(t.Context()); err != nil || len(pending) > 0 {
			t.Errorf("pending %+v, %v", pending, err)
		}
		l.heal()
		again := push(t, p)
		if n := l.count(http.MethodPut) + l.count(http.MethodPost); n != 0 || len(again.Mappings) != 1 || len(again.Skipped) != 2 {
			t.Errorf("%d requests that change something, result %+v", n, again)
		}
	}
}

// TestSignatureByTheSameKeyIsReplaced: what a key has signed anew does not pile up.
func TestSignatureByTheSameKeyIsReplaced(t *testing.T) {
	l := newLab(t, distribution(t))
	opts := Options{SameSigner: sameMaker}
	first, tag := signedBy(t, "old.1", "stranger.1")
	second, _ := signedBy(t, "old.2")
	alone, _ := signedBy(t, "old.3", "stranger.2")
	push(t, plan(t, l.target(), opts, first))
	push(t, plan(t, l.target(), opts, second))
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"old.2", "stranger.1"}) {
		t.Errorf("signatures %v", got)
	}
	// All that were there are made anew: the bundle's own manifest takes the tag.
	result := push(t, plan(t, l.target(), opts, alone))
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"old.3", "stranger.2"}) || len(result.Mappings) != 0 {
		t.Errorf("signatures %v, result %+v", got, result)
	}
	// Nobody knows who signed: all stay.
	push(t, plan(t, l.target(), Options{}, second))
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"old.2", "old.3", "stranger.2"}) {
		t.Errorf("signatures %v", got)
	}
}

// TestWhatIsNoSignatureDoesNotStay: the tag is cosign's.
func TestWhatIsNoSignatureDoesNotStay(t *testing.T) {
	l := newLab(t, distribution(t))
	b, tag := signedBy(t, "new.1")
	squatter := newBundle(t)
	squatter.add("quay.io/a/app:"+tag, squatter.image("amd64", random(100, 9)), "")
	push(t, plan(t, l.target(), Options{}, squatter))
	result := push(t, plan(t, l.target(), Options{SameSigner: sameMaker}, b))
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"new.1"}) || len(result.Mappings) != 0 {
		t.Errorf("signatures %v, result %+v", got, result)
	}
}

// TestLostSignatureIsFound: that a tag holds a list with a signature says nothing of what
// the list needs.
func TestLostSignatureIsFound(t *testing.T) {
	l := newLab(t, distribution(t))
	first, tag := signedBy(t, "old.1")
	second, _ := signedBy(t, "new.1")
	push(t, plan(t, l.target(), Options{}, first))
	p := plan(t, l.target(), Options{}, second)
	push(t, p)
	var m ocispec.Manifest
	if err := json.Unmarshal(l.manifestBytes("quay.io/a/app", tag), &m); err != nil {
		t.Fatal(err)
	}
	l.fail(1<<30, func(r *http.Request) bool {
		return r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/blobs/"+m.Layers[1].Digest.String())
	}, answerWith(http.StatusNotFound, "BLOB_UNKNOWN"))
	report, err := p.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 1 || report.Findings[0].Kind != FindingBlob {
		t.Errorf("findings %+v", report.Findings)
	}
}

// TestBrokenListOfOthers: a list of others of which the registry has lost a payload, or
// all but its tag, does not keep the bundle's signatures out.
func TestBrokenListOfOthers(t *testing.T) {
	l := newLab(t, distribution(t))
	stranger, tag := signatureList(t, "of its own ", nil, "stranger.1")
	push(t, plan(t, l.target(), Options{}, stranger))
	var theirs ocispec.Manifest
	list := l.manifestBytes("quay.io/a/app", tag)
	if err := json.Unmarshal(list, &theirs); err != nil {
		t.Fatal(err)
	}
	payload := theirs.Layers[0].Digest.String()
	ours, _ := signedBy(t, "new.1")
	p := plan(t, l.target(), Options{}, ours)
	l.fail(1<<30, method(http.MethodHead, payload), answerWith(http.StatusNotFound, "BLOB_UNKNOWN"))
	l.fail(1<<30, func(r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/"+tag) {
			return false
		}
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		return err == nil && bytes.Contains(body, []byte(payload))
	}, answerWith(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"))
	push(t, p)
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"new.1"}) {
		t.Errorf("signatures %v", got)
	}

	l.heal()
	push(t, plan(t, l.target(), Options{}, stranger))
	third, _ := signedBy(t, "other.1")
	l.fail(1<<30, method(http.MethodGet, "/manifests/"+digest.FromBytes(l.manifestBytes("quay.io/a/app", tag)).String()), answerWith(http.StatusNotFound, "MANIFEST_UNKNOWN"))
	push(t, plan(t, l.target(), Options{}, third))
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"other.1"}) {
		t.Errorf("signatures %v", got)
	}
}

// TestSignatureWithoutItsCertificate: a signature counts as there with all that belongs
// to it, and is put right where it is not.
func TestSignatureWithoutItsCertificate(t *testing.T) {
	const certificate = "dev.sigstore.cosign/certificate"
	l := newLab(t, distribution(t))
	bare, tag := signedBy(t, "upstream.1", "stranger.1")
	push(t, plan(t, l.target(), Options{}, bare))
	whole, _ := signatureList(t, "payload of ", map[string]string{certificate: "the certificate"}, "upstream.1")
	p := plan(t, l.target(), Options{}, whole)
	if report, err := p.Check(t.Context()); err != nil || !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Kind == FindingTag }) {
		t.Errorf("report %+v, %v", report, err)
	}
	push(t, p)
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"stranger.1", "upstream.1"}) {
		t.Errorf("signatures %v", got)
	}
	if data := l.manifestBytes("quay.io/a/app", tag); !bytes.Contains(data, []byte("the certificate")) {
		t.Errorf("under the tag: %s", data)
	}
}

// TestSignedMeanwhile: who signs between the question and the push is not lost.
func TestSignedMeanwhile(t *testing.T) {
	l := newLab(t, distribution(t))
	first, tag := signedBy(t, "old.1")
	push(t, plan(t, l.target(), Options{}, first))
	asked := digest.FromBytes(l.manifestBytes("quay.io/a/app", tag)).String()
	meanwhile, _ := signedBy(t, "other.1")
	late := plan(t, l.target(), Options{}, meanwhile)
	second, _ := signedBy(t, "new.1")
	l.fail(1, method(http.MethodGet, "/manifests/"+asked), func(http.ResponseWriter, *http.Request) bool {
		if _, err := late.Execute(t.Context()); err != nil {
			t.Error(err)
		}
		return false
	})
	push(t, plan(t, l.target(), Options{}, second))
	if got := l.signaturesUnder(tag); !slices.Equal(got, []string{"new.1", "old.1", "other.1"}) {
		t.Errorf("signatures %v", got)
	}
}
