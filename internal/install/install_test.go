package install

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/mirror/push"
)

func TestOnlyTakesWholeElements(t *testing.T) {
	for _, c := range []struct {
		given, ref string
		want       bool
	}{
		{"quay.io/a/app", "quay.io/a/app:1", true},
		{"quay.io/a/app", "quay.io/a/app@sha256:0", true},
		{"quay.io/a/app:1", "quay.io/a/app:1", true},
		{"quay.io/a/", "quay.io/a/app:1", true},
		{"quay.io/a", "quay.io/a/app:1", true},
		{"quay.io/a/app", "quay.io/a/apple:1", false},
		{"quay.io/a/app:1", "quay.io/a/app:10", false},
		{"docker.io", "quay.io/a/app:1", false},
	} {
		if got := only([]string{"nothing", c.given})(c.ref, ocispec.Descriptor{}); got != c.want {
			t.Errorf("--only %s of %s: %v, want %v", c.given, c.ref, got, c.want)
		}
	}
}

func TestPlainHTTPStaysOnThisHost(t *testing.T) {
	for to, ok := range map[string]bool{
		"localhost:5000/x": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000/x": true,
		"registry.site:5000": false, "10.0.0.1:5000": false, "localhost.evil:5000": false, "127.0.0.1.evil": false, "0.0.0.0:1": false,
	} {
		if err := checkPlain(to, true); (err == nil) != ok || err != nil && !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v, want allowed %v", to, err, ok)
		}
		if err := checkPlain(to, false); err != nil {
			t.Errorf("%s with TLS: %v", to, err)
		}
	}
}

func TestNamesOfTheCertificate(t *testing.T) {
	one := defaultNames(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1})
	if !slices.Contains(one, "192.0.2.7") || !slices.Contains(one, "localhost") || !slices.IsSorted(one) {
		t.Errorf("names %v", one)
	}
	for _, name := range defaultNames(&net.TCPAddr{IP: net.IPv6unspecified, Port: 1}) {
		if name == "::" || name == "0.0.0.0" || name == "" {
			t.Errorf("%q is no name to reach a host by", name)
		}
	}
}

func TestBlobsOfSeveralRepositoriesCountOnce(t *testing.T) {
	var total int64
	count := countOnce(func(n int64) { total += n })
	a := ocispec.Descriptor{Digest: digest.FromString("a"), Size: 10}
	b := ocispec.Descriptor{Digest: digest.FromString("b"), Size: 1000}
	count(push.BlobEvent{Descriptor: a, Outcome: push.OutcomePresent})
	count(push.BlobEvent{Descriptor: a, Outcome: push.OutcomePresent})
	count(push.BlobEvent{Descriptor: b, Outcome: push.OutcomePushed}) // counted byte by byte
	count(push.BlobEvent{Descriptor: b, Outcome: push.OutcomeMounted})
	if total != 10 {
		t.Errorf("%d bytes, want 10", total)
	}
}

func TestDifferenceNamesBothDigests(t *testing.T) {
	want, got := digest.FromString("want"), digest.FromString("got")
	err := &DifferenceError{Findings: []push.Finding{{Repository: "r", Ref: "1", Want: want, Got: got}, {Repository: "r", Ref: "2", Want: want}}}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], want.String()) || !strings.Contains(lines[0], got.String()) || !strings.Contains(lines[1], "nothing") {
		t.Errorf("%q", lines)
	}
}
