package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"naru/pkg/archive"
)

func encode(t *testing.T, data []byte, jobs int) (archive.EncodeResult, []byte) {
	t.Helper()
	var out bytes.Buffer
	res, err := archive.Encode(context.Background(), bytes.NewReader(data), int64(len(data)), &out, archive.EncodeOptions{Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	return res, out.Bytes()
}

func TestEncode(t *testing.T) {
	gz := append([]byte("\x1f\x8b\x08"), text(1, 1<<20)...)
	for name, c := range map[string]struct {
		data []byte
		want archive.Encoding
	}{
		"empty":           {nil, archive.EncodingRaw},
		"small":           {text(1, 1000), archive.EncodingRaw},
		"text":            {text(1, 100<<10), archive.EncodingZstd},
		"large text":      {text(2, 20<<20), archive.EncodingZstd},
		"random":          {random(3, 1<<20), archive.EncodingRaw},
		"large random":    {random(4, 20<<20), archive.EncodingRaw},
		"gzip":            {gz, archive.EncodingRaw},
		"starts random":   {append(random(5, 5<<20), text(6, 5<<20)...), archive.EncodingZstd},
		"hardly anything": {append(random(7, 4<<20), text(8, 100<<10)...), archive.EncodingRaw},
	} {
		t.Run(name, func(t *testing.T) {
			res, out := encode(t, c.data, 1)
			if res.Encoding != c.want {
				t.Fatalf("%s, want %s", res.Encoding, c.want)
			}
			if c.want == archive.EncodingRaw {
				if res.EncodedSize != int64(len(c.data)) {
					t.Errorf("%d bytes", res.EncodedSize)
				}
				return
			}
			if res.EncodedSize != int64(len(out)) {
				t.Errorf("%d bytes, wrote %d", res.EncodedSize, len(out))
			}
			again, more := encode(t, c.data, 7)
			if diff := cmp.Diff(res, again); diff != "" || !bytes.Equal(out, more) {
				t.Errorf("depends on the number of jobs: %s", diff)
			}
			cmd := exec.Command("zstd", "-dc")
			cmd.Stdin = bytes.NewReader(out)
			if plain, err := cmd.Output(); err != nil || !bytes.Equal(plain, c.data) {
				t.Errorf("zstd -dc: %d bytes, %v", len(plain), err)
			}
		})
	}
}

func TestSniff(t *testing.T) {
	for head, want := range map[string]bool{
		"":                                 false,
		"hello":                            false,
		"\x7fELF":                          false,
		"\x1f\x8b\x08\x00":                 true,
		"\x28\xb5\x2f\xfd":                 true,
		"\xfd7zXZ\x00":                     true,
		"BZh91AY&SY":                       true,
		"BZh9 is no magic":                 false,
		"PK\x03\x04":                       true,
		"!<arch>\ndebian-binary   123":     true,
		"!<arch>\n/               0      ": false,
		"\xed\xab\xee\xdb\x03":             true,
		"\x04\x22\x4d\x18":                 true,
		"7z\xbc\xaf\x27\x1c":               true,
	} {
		if got := archive.Sniff([]byte(head)); got != want {
			t.Errorf("%q: %v", head, got)
		}
	}
}

type failing struct{ after int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestEncodeFails(t *testing.T) {
	ctx := context.Background()
	data := text(1, 30<<20)
	for _, after := range []int{0, 1 << 20, 5 << 20} {
		_, err := archive.Encode(ctx, bytes.NewReader(data), int64(len(data)), &failing{after}, archive.EncodeOptions{Jobs: 2})
		if !errors.Is(err, errFull) {
			t.Errorf("writer full after %d: %v", after, err)
		}
	}
	_, err := archive.Encode(ctx, bytes.NewReader(data), int64(len(data))+1, io.Discard, archive.EncodeOptions{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("file shorter than it says: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = archive.Encode(canceled, bytes.NewReader(data), int64(len(data)), io.Discard, archive.EncodeOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
