package push

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// asked counts the requests of a method by path, without the first one to "/v2/".
func (l *lab) asked(method string) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for _, line := range l.log {
		if path, ok := strings.CutPrefix(line, method+" "); ok && path != "/v2/" {
			n[path]++
		}
	}
	return n
}

// signed is a bundle of images that share layers, each with a cosign tag.
func signed(t *testing.T, n int) *bundle {
	b := newBundle(t)
	shared := random(400_000, 1)
	for i := range n {
		repository := fmt.Sprintf("quay.io/team/app%d", i/2) // two tags in each
		img := b.image("amd64", shared, random(2000, uint64(10+i)))
		b.add(fmt.Sprintf("%s:v%d", repository, i), img, "")
		b.add(repository+":sha256-"+img.Digest.Encoded()+".sig", b.image("", []byte("signature of "+img.Digest)), img.Digest)
	}
	return b
}

func TestRerunAsksForEachThingOnce(t *testing.T) {
	l := newLab(t, distribution(t))
	b := signed(t, 10)
	push(t, plan(t, l.target(), Options{}, b))
	l.heal()
	p := plan(t, l.target(), Options{}, b)
	result, report, err := p.Push(t.Context(), nil)
	if err != nil || len(result.Skipped) != 20 || len(report.Findings) > 0 {
		t.Fatalf("%+v, %+v, %v", result, report, err)
	}
	want := map[string]int{}
	for _, a := range p.Artifacts {
		want["/v2/"+a.Repository+"/manifests/"+a.reference()] = 1
		for _, blob := range a.root().Blobs {
			want["/v2/"+a.Repository+"/blobs/"+blob.Digest.String()] = 1
		}
	}
	got := l.asked(http.MethodHead)
	for path := range want {
		if got[path] != 1 {
			t.Errorf("%s was asked for %d times", path, got[path])
		}
	}
	if len(got) != len(want) || l.count("GET ")+l.count("PUT")+l.count("POST") != 1 {
		t.Errorf("%d things were asked for, want %d, in %d requests", len(got), len(want), len(l.log))
	}
	if report.Checked != len(want)+20 { // and each manifest under its tag
		t.Errorf("%d things compared, want %d", report.Checked, len(want)+20)
	}
}

// What is sent is asked for after that, and only then.
func TestPushAsksAfterItSent(t *testing.T) {
	l := newLab(t, distribution(t))
	b := signed(t, 10)
	p := plan(t, l.target(), Options{}, b)
	if _, _, err := p.Push(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Artifacts {
		for _, blob := range a.root().Blobs {
			path := "/v2/" + a.Repository + "/blobs/"
			head := "HEAD " + path + blob.Digest.String()
			sent := slices.IndexFunc(l.log, func(line string) bool {
				return strings.HasPrefix(line, "PUT "+path) && strings.Contains(line, "digest="+strings.Replace(blob.Digest.String(), ":", "%3A", 1)) ||
					strings.HasPrefix(line, "POST "+path) && strings.Contains(line, "mount="+strings.Replace(blob.Digest.String(), ":", "%3A", 1))
			})
			asked := slices.Index(l.log, head)
			n := l.count(head)
			if blob.Size > maxClaim {
				n--
				asked = slices.Index(l.log[sent:], head) + sent
			}
			if n > 1 || asked < sent || sent < 0 {
				t.Errorf("%s of %d bytes: sent in request %d, asked for in %d, %d times", head, blob.Size, sent, asked, n)
			}
		}
		tag := "/v2/" + a.Repository + "/manifests/" + a.reference()
		if n := l.count("HEAD " + tag); n != 2 {
			t.Errorf("%s was asked for %d times, want before and after", tag, n)
		}
	}
}

// What a registry says it took is not what it has.
func TestPushSeesWhatGotLost(t *testing.T) {
	b := newBundle(t)
	layer := random(1000, 1)
	img := b.image("amd64", layer)
	b.add("quay.io/a/b:1", img, "")
	for _, tt := range []struct {
		kind   string
		want   digest.Digest
		match  func(*http.Request) bool
		strike fault
	}{
		{FindingTag, img.Digest, method("PUT", "manifests/1"), answerWith(201, "", "Docker-Content-Digest", img.Digest.String())},
		{FindingBlob, digest.FromBytes(layer), method("HEAD", "blobs/"+digest.FromBytes(layer).String()), answerWith(404, "")},
	} {
		l := newLab(t, distribution(t))
		l.fail(1<<30, tt.match, tt.strike)
		result, report, err := plan(t, l.target(), Options{}, b).Push(t.Context(), nil)
		if err != nil || len(result.Pushed) != 1 {
			t.Fatalf("%s: %+v, %v", tt.kind, result, err)
		}
		if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Kind == tt.kind && f.Want == tt.want }) {
			t.Errorf("%s: findings %+v", tt.kind, report.Findings)
		}
	}
}

// That a tag is there says nothing of the blobs below it.
func TestRerunSeesWhatGotLost(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	layer := random(1000, 1)
	b.add("quay.io/a/b:1", b.image("amd64", layer), "")
	push(t, plan(t, l.target(), Options{}, b))
	l.fail(1<<30, method("HEAD", "blobs/"+digest.FromBytes(layer).String()), answerWith(404, ""))
	_, report, err := plan(t, l.target(), Options{}, b).Push(t.Context(), nil)
	if err != nil || len(report.Findings) != 1 || report.Findings[0].Want != digest.FromBytes(layer) || report.Compared[0].State != StateAbsent {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestPushThatFailsHasNoReport(t *testing.T) {
	l := newLab(t, ggcr(t))
	l.fail(1<<30, method("PUT", "manifests/v3"), answerWith(403, "DENIED"))
	result, report, err := plan(t, l.target(), Options{Jobs: 1, ImageJobs: 1}, signed(t, 6)).Push(t.Context(), nil)
	if err == nil || report != nil || result == nil {
		t.Errorf("%+v, %+v, %v", result, report, err)
	}
}

// A registry that knows what a mount is takes one question less for small blobs, in a
// run that goes on where another was cut as well.
func TestClaimedBlobsAreNotSentAgain(t *testing.T) {
	l := newLab(t, distribution(t))
	b := signed(t, 2)
	l.fail(1<<30, method("PUT", "manifests/"), answerWith(403, "DENIED"))
	// One image at a time: nothing is under way when the first one fails.
	if _, err := plan(t, l.target(), Options{ImageJobs: 1}, b).Execute(t.Context()); err == nil {
		t.Fatal("the manifests were refused, and that went unnoticed")
	}
	sent := l.count("PUT", "/blobs/uploads/")
	l.heal()
	p := plan(t, l.target(), Options{}, b)
	result := push(t, p)
	if again := l.count("PUT", "/blobs/uploads/"); sent+again != p.Blobs || result.Blobs.Present == 0 {
		t.Errorf("%d and %d blobs were sent, the plan has %d; %+v", sent, again, p.Blobs, result.Blobs)
	}
}

func TestQueue(t *testing.T) {
	b := newBundle(t)
	small, large := b.image("amd64", random(100, 1)), b.image("amd64", random(10_000, 2))
	first := b.referrer(small, "a/b")
	second := b.referrer(first, "c/d")
	add := func(desc ocispec.Descriptor, subject digest.Digest) string {
		ref := "quay.io/a/b@" + desc.Digest.String()
		b.add(ref, desc, subject)
		return ref
	}
	order := []string{add(large, ""), add(small, ""), add(first, small.Digest), add(second, first.Digest)}
	slices.Reverse(b.index.Manifests)
	p := plan(t, newLab(t, ggcr(t)).target(), Options{}, b)
	q := newQueue(p.Artifacts)
	one, two := q.next(t.Context()), q.next(t.Context())
	if one.Ref != order[0] || two.Ref != order[1] {
		t.Errorf("%s and %s are first, want the larger and the smaller image", one.Ref, two.Ref)
	}
	q.pushed(two)
	for _, ref := range order[2:] {
		a := q.next(t.Context())
		if a.Ref != ref {
			t.Errorf("%s, want %s", a.Ref, ref)
		}
		q.pushed(a)
	}
	q.pushed(one)
	if a := q.next(t.Context()); a != nil {
		t.Errorf("%s is left", a.Ref)
	}
}
