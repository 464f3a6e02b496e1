package push

import (
	"net/http"
	"strings"
	"testing"
)

func TestPending(t *testing.T) {
	l := newLab(t, distribution(t))
	old, b := newBundle(t), newBundle(t)
	same := b.image("amd64", random(100, 1))
	old.add("quay.io/a/same:1", old.image("amd64", random(100, 1)), "")
	old.add("quay.io/a/moved:1", old.image("amd64", random(100, 2)), "")
	push(t, plan(t, l.target(), Options{}, old))
	moved, fresh := b.image("amd64", random(100, 3)), b.image("amd64", random(1000, 4))
	b.add("quay.io/a/same:1", same, "")
	b.add("quay.io/a/moved:1", moved, "")
	b.add("quay.io/a/fresh:1", fresh, "")
	p := plan(t, l.target(), Options{}, b)
	l.heal()
	asked, err := p.Ask(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pending := asked.Pending()
	if len(pending) != 2 || !pending[0].Moves() || pending[0].Tag != "1" || pending[1].Moves() {
		t.Fatalf("pending %+v", pending)
	}
	if sizes := Sizes(pending); sizes["quay.io/a/same"] != 0 || sizes["quay.io/a/fresh"] < 1000 {
		t.Errorf("sizes %v", sizes)
	}
	if n := l.count(http.MethodPut) + l.count(http.MethodPost); n != 0 {
		t.Errorf("asking changed something: %d requests", n)
	}
	// What was there is not asked for again.
	if _, report, err := p.Push(t.Context(), asked); err != nil || len(report.Findings) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if n := l.count("HEAD /v2/quay.io/a/same/manifests/1"); n != 1 {
		t.Errorf("the tag that is there was asked for %d times", n)
	}
}

// TestImmutableTagsAreLeftAlone: a registry with immutable tags refuses to set one
// anew, also to what it is.
func TestImmutableTagsAreLeftAlone(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	amd64, arm64, gone := b.image("amd64", random(100, 1)), b.image("arm64", random(100, 2)), b.image("s390x", random(100, 3))
	two := b.list(amd64, arm64, gone)
	delete(b.blobs, gone.Digest)
	b.add("quay.io/a/two:1", two, "")
	result := push(t, plan(t, l.target(), Options{SparseIndexes: SparseRefused}, b))
	if len(result.Mappings) != 1 || l.count("PUT", "/quay.io/a/two/manifests/1") != 1 {
		t.Fatalf("the sparse index was tried: %+v", result)
	}
	l.heal()
	l.fail(1<<30, method("PUT", "manifests/1"), answerWith(http.StatusPreconditionFailed, "PRECONDITION"))
	// A child is missing: it is pushed again, and the tag is not.
	l.fail(1, func(r *http.Request) bool {
		return r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, arm64.Digest.String())
	}, answerWith(http.StatusNotFound, "MANIFEST_UNKNOWN"))
	again := push(t, plan(t, l.target(), Options{SparseIndexes: SparseRefused}, b))
	if len(again.Mappings) != 1 {
		t.Errorf("second push: %+v", again)
	}
}

func TestCompared(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	amd64, gone := b.image("amd64", random(100, 1)), b.image("s390x", random(100, 3))
	whole, one := b.image("amd64", random(100, 5)), b.list(amd64, gone)
	delete(b.blobs, gone.Digest)
	b.add("quay.io/a/whole:1", whole, "")
	b.add("quay.io/a/one:1", one, "")
	p := plan(t, l.target(), Options{}, b)
	states := func() map[string]string {
		report, err := p.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, c := range report.Compared {
			out[c.Digest.String()] = c.State
		}
		return out
	}
	if s := states(); s[whole.Digest.String()] != StateAbsent {
		t.Errorf("before the push: %v", s)
	}
	push(t, p)
	s := states()
	if s[whole.Digest.String()] != StateHeld || s[amd64.Digest.String()] != StateHeld || s[one.Digest.String()] != StateMapped {
		t.Errorf("after the push: %v", s)
	}
}
