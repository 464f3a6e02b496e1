package verify

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

var (
	digestA = digest.FromString("a")
	digestB = digest.FromString("b")
)

func TestSumsRoundTrip(t *testing.T) {
	sums := []Sum{
		{Name: "나루 안내.txt", Digest: digestB},
		{Name: "demo-1.tar.zst", Digest: digestA},
		{Name: "deep/er/file  with two  spaces", Digest: digestA},
		{Name: "*star", Digest: digestA},
	}
	data, err := EncodeSums(sums)
	if err != nil {
		t.Fatal(err)
	}
	want := digestA.Encoded() + "  *star\n" + digestA.Encoded() + "  deep/er/file  with two  spaces\n" +
		digestA.Encoded() + "  demo-1.tar.zst\n" + digestB.Encoded() + "  나루 안내.txt\n"
	want = strings.Join(slices.SortedFunc(strings.Lines(want), func(a, b string) int { return strings.Compare(a[66:], b[66:]) }), "")
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	got, err := ParseSums(data)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(sums, func(a, b Sum) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseSumsRefuses(t *testing.T) {
	hash := digestA.Encoded()
	tests := map[string]string{
		"empty":             "",
		"empty line":        "\n",
		"no newline":        hash + "  a",
		"line of nothing":   hash + "  a\n\n",
		"no name":           hash + "  \n",
		"one space":         hash + " a\n",
		"binary mark":       hash + " *a\n",
		"upper case":        strings.ToUpper(hash) + "  a\n",
		"short":             hash[:63] + "  a\n",
		"long":              hash + "0  a\n",
		"not hex":           strings.Repeat("g", 64) + "  a\n",
		"escaped":           "\\" + hash + "  a\\nb\n",
		"backslash":         hash + "  a\\b\n",
		"carriage return":   hash + "  a\r\n",
		"NUL":               hash + "  a\x00b\n",
		"not UTF-8":         hash + "  a\xffb\n",
		"above":             hash + "  ../a\n",
		"above, inside":     hash + "  a/../../b\n",
		"not clean":         hash + "  ./a\n",
		"double slash":      hash + "  a//b\n",
		"folder":            hash + "  a/\n",
		"dot":               hash + "  .\n",
		"absolute":          hash + "  /etc/passwd\n",
		"twice":             hash + "  a\n" + digestB.Encoded() + "  a\n",
		"twice, same":       hash + "  a\n" + hash + "  a\n",
		"long name":         hash + "  " + strings.Repeat("a", maxNameSize+1) + "\n",
		"BSD style":         "SHA256 (a) = " + hash + "\n",
		"too large":         strings.Repeat(hash+"  a\n", MaxSumsSize/67+1),
		"byte order mark":   "\ufeff" + hash + "  a\n",
		"blank before hash": " " + hash + "  a\n",
	}
	for name, data := range tests {
		sums, err := ParseSums([]byte(data))
		var malformed *MalformedError
		if !errors.As(err, &malformed) || sums != nil {
			t.Errorf("%s: got %v, want a MalformedError", name, err)
		}
	}
}

func TestEncodeSumsRefuses(t *testing.T) {
	tests := map[string][]Sum{
		"nothing":     nil,
		"twice":       {{Name: "a", Digest: digestA}, {Name: "a", Digest: digestA}},
		"traversal":   {{Name: "../a", Digest: digestA}},
		"newline":     {{Name: "a\nb", Digest: digestA}},
		"no digest":   {{Name: "a"}},
		"bad digest":  {{Name: "a", Digest: "sha256:12"}},
		"sha512":      {{Name: "a", Digest: digest.SHA512.FromString("a")}},
		"second line": {{Name: "a", Digest: digestA}, {Name: "/b", Digest: digestA}},
	}
	for name, sums := range tests {
		if data, err := EncodeSums(sums); err == nil {
			t.Errorf("%s: got %q", name, data)
		}
	}
}

func FuzzSums(f *testing.F) {
	hash := digestA.Encoded()
	for _, seed := range []string{"", hash + "  a\n", hash + "  b/c\n" + hash + "  a  b\n", hash + " *a\n", "\\" + hash + "  a\\nb\n",
		hash + "  ../a\n", hash + "  a", hash + "  나루\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sums, err := ParseSums(data)
		if err != nil {
			if sums != nil {
				t.Fatal("lines came with an error")
			}
			return
		}
		for _, s := range sums {
			if !filepath.IsLocal(s.Name) || s.Digest.Validate() != nil {
				t.Fatalf("accepted %+v", s)
			}
		}
		// What was read is all that was written, in one spelling.
		out, err := EncodeSums(sums)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.Collect(bytes.Lines(data))
		slices.SortFunc(lines, func(a, b []byte) int { return bytes.Compare(a[66:len(a)-1], b[66:len(b)-1]) })
		if want := bytes.Join(lines, nil); !bytes.Equal(out, want) {
			t.Fatalf("read %q, wrote %q", want, out)
		}
	})
}
