package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror/remote"
	"naru/pkg/sign/verify"
)

// program is one with a command do that runs run.
func program(run func(*cobra.Command, []string) error, own Judge) Program {
	root := &cobra.Command{Use: "p", Short: "Test"}
	do := &cobra.Command{Use: "do", Short: "Do it", Args: Args(cobra.MaximumNArgs(1)), RunE: run}
	do.Flags().Bool("a", false, "one `way`")
	do.Flags().Bool("b", false, "another | way")
	do.Flags().Int("must", 7, "a number")
	do.MarkFlagsMutuallyExclusive("a", "b")
	group := &cobra.Command{Use: "group", Short: "Hold others"}
	group.AddCommand(&cobra.Command{Use: "inner", Short: "Do more", Run: func(*cobra.Command, []string) {}})
	root.AddCommand(do, group)
	if own == nil {
		own = func(error) (Verdict, bool) { return Verdict{}, false }
	}
	return Program{Root: root, Judge: own}
}

func run(ctx context.Context, p Program, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = p.Run(ctx, args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

// TestExitCodes holds the contract of docs/cli.md.
func TestExitCodes(t *testing.T) {
	mine := errors.New("mine")
	own := func(err error) (Verdict, bool) { return Verdict{42, "my hint"}, errors.Is(err, mine) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("whatever"), ExitError},
		{fs.ErrPermission, ExitError},
		{mine, 42},
		{Usagef("so not"), ExitUsage},
		{&manifest.SourceError{}, ExitDocument},
		{&archive.MissingVolumeError{}, ExitIntegrity},
		{&archive.DuplicateVolumeError{}, ExitIntegrity},
		{&archive.ForeignVolumeError{}, ExitIntegrity},
		{&archive.NotABundleError{}, ExitIntegrity},
		{&archive.DamagedError{Err: io.ErrUnexpectedEOF}, ExitIntegrity},
		{&verify.SumsError{}, ExitIntegrity},
		{&verify.NoMatchError{}, ExitTrust},
		{&verify.DigestError{}, ExitTrust},
		{&verify.MalformedError{Err: io.EOF}, ExitTrust},
		{verify.ErrNoKey, ExitTrust},
		{intake.ErrNoTrust, ExitTrust},
		{intake.ErrSumsUnsigned, ExitTrust},
		{&remote.StatusError{Status: 500}, ExitNetwork},
		{syscall.ENOSPC, ExitSpace},
		{&manifest.VersionError{}, ExitVersion},
		{context.Canceled, ExitInterrupted},
	} {
		if c.err != nil {
			c.err = fmt.Errorf("doing a thing: %w", c.err) // and wrapped, as they come
		}
		code, _, stderr := run(t.Context(), program(func(*cobra.Command, []string) error { return c.err }, own), "do")
		if code != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, code, c.want)
		}
		if (c.err != nil) != strings.HasPrefix(stderr, "error: doing a thing") {
			t.Errorf("%v: standard error is %q", c.err, stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	done := func(*cobra.Command, []string) error { return nil }
	for _, args := range [][]string{{"nothing"}, {"group", "nothing"}, {"do", "--c"}, {"do", "--a", "--b"}, {"do", "x", "y"}, {"do", "--must=x"}} {
		code, stdout, stderr := run(t.Context(), program(done, nil), args...)
		if code != ExitUsage || stdout != "" || !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{}, {"group"}, {"--help"}, {"do", "--help"}} {
		code, stdout, stderr := run(t.Context(), program(done, nil), args...)
		if code != ExitOK || !strings.Contains(stdout, "Usage:") || stderr != "" {
			t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

func TestErrorsOfSeveralLines(t *testing.T) {
	err := errors.Join(errors.New("one"), errors.New("two"))
	_, _, stderr := run(t.Context(), program(func(*cobra.Command, []string) error { return err }, nil), "do")
	if stderr != "error: one\nerror: two\n" {
		t.Errorf("standard error is %q", stderr)
	}
}

func TestInterruptedSaysHowToGoOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, stderr := run(ctx, program(func(cmd *cobra.Command, _ []string) error { return fmt.Errorf("fetching: %w", cmd.Context().Err()) }, nil), "do")
	if code != ExitInterrupted || strings.Contains(stderr, "error:") || !strings.Contains(stderr, "again") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"1": 1, "700MB": 700e6, "4GiB": 4 << 30, "4g": 4 << 30, "1.5kB": 1500, "dvd": 4_500_000_000, "fat32": 4<<30 - 1} {
		var f SizeFlag
		if err := f.Set(s); err != nil || f.Bytes != want {
			t.Errorf("%q is %d, %v, want %d", s, f.Bytes, err, want)
		}
	}
	for _, s := range []string{"", "0", "-1", "GB", "4XB", "1e30", "NaN", "Inf", "0x10Q", "4 GB GB", "0.1", "blu-ray"} {
		var f SizeFlag
		if err := f.Set(s); err == nil {
			t.Errorf("%q was read as %d", s, f.Bytes)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"4GiB", "700MB", "1", "", "k", "1e3", "-0b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && (n < 1 || n >= 1<<62) {
			t.Errorf("%q is %d", s, n)
		}
	})
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		path := filepath.Join(dir, "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{"pw": "pw", "pw\n": "pw", "pw\r\n": "pw", " p w ": " p w "} {
		if got, err := ReadSecret(write(text)); err != nil || got != want {
			t.Errorf("%q gives %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "first\nsecond", strings.Repeat("x", 64<<10+1)} {
		_, err := ReadSecret(write(text))
		if err == nil {
			t.Errorf("%.20q was taken", text)
		} else if text != "" && strings.Contains(err.Error(), "first") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
	if _, err := ReadSecret(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestMarkdown(t *testing.T) {
	var page bytes.Buffer
	done := func(*cobra.Command, []string) error { return nil }
	if err := Markdown(&page, program(done, nil).Root); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"# p\n", "| [`p group inner`](#p-group-inner) | Do more |", "## p do\n\nDo it.\n", "| `--a way` |  | one way |", `another \| way`, "| `--must int` | `7` | a number |"} {
		if !strings.Contains(page.String(), s) {
			t.Errorf("%q is not in the page:\n%s", s, page.String())
		}
	}
}

func TestTable(t *testing.T) {
	var buf bytes.Buffer
	if err := Table(&buf, []string{"A", "B"}, [][]string{{"long one", "x"}, {"y", ""}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("A         B\nlong one  x\ny\n", buf.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
