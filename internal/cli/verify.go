package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/pkg/archive"
)

type verifyOptions struct {
	trust    TrustFlags
	progress ProgressFlags
	output   OutputFlag
	jobs     int
}

// NewVerify is the verify command, the same in both programs; trustDir is the
// default trust folder.
func NewVerify(trustDir string) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify BUNDLE...",
		Short: "Check the signature and every byte of a bundle",
		Long: `verify checks who signed a bundle and that every volume, entry and blob is what was
signed. BUNDLE is a volume, or the folder of the volumes; a bundle whose volumes lie
in several folders is given by all of them. Everything that is wrong is reported.`,
		Args: Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVerify(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	o.progress.Add(cmd)
	o.output.Add(cmd)
	cmd.Flags().IntVarP(&o.jobs, "jobs", "j", 0, "concurrent readers (default: one a processor)")
	return cmd
}

// verifyResult is the result document of verify.
type verifyResult struct {
	Bundle   string `json:"bundle"`
	Release  string `json:"release"`
	Created  string `json:"created"`
	Scan     string `json:"scan"`
	SignedBy string `json:"signedBy,omitempty"`
	Volumes  int    `json:"volumes"`
	Files    int    `json:"files"`
	// Beside counts the files beside the volumes that agree with SHA256SUMS.
	Beside int `json:"beside"`
	Blobs  int `json:"blobs"`
	// Signatures and Attestations of the content that trusted keys made.
	Signatures   int   `json:"signatures"`
	Attestations int   `json:"attestations"`
	Bytes        int64 `json:"bytes"`
}

func runVerify(ctx context.Context, o verifyOptions, paths []string, stdout, stderr io.Writer) (err error) {
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts := o.trust.Options(paths, stderr)
	b, err := intake.Open(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	obs.Start("verify", contentSize(b))
	report, err := b.Verify(ctx, archive.VerifyOptions{Jobs: o.jobs, Progress: obs.Add})
	if err != nil {
		return err
	}
	signed, err := b.WithSignatures(ctx)
	if err != nil {
		return err
	}
	beside, err := intake.CheckMedia(ctx, opts, b)
	if err != nil {
		return err
	}
	obs.Close(nil)
	meta := b.Bundle()
	result := verifyResult{Bundle: b.BundleDigest().String(), Release: meta.Release, Created: meta.Created, Scan: string(meta.Scan.Verdict),
		SignedBy: b.Signer, Volumes: len(b.Volumes()), Files: report.Files, Beside: beside, Blobs: report.Blobs, Bytes: report.Bytes,
		Signatures: signed.Signatures, Attestations: signed.Attestations}
	return o.output.Print(stdout, result, func(w io.Writer) error { return printVerify(w, result) })
}

func printVerify(w io.Writer, r verifyResult) error {
	signer, verdict := r.SignedBy, "every byte is what was signed"
	if signer == "" {
		signer, verdict = "NOT CHECKED", "every byte is what bundle.json says, and NOBODY VOUCHES for that"
	}
	beside := fmt.Sprintf("%d files as SHA256SUMS has them", r.Beside)
	if r.Beside == 0 {
		beside = "NOT CHECKED: no SHA256SUMS with the volumes"
	}
	return Table(w, []string{"bundle", r.Bundle}, [][]string{
		{"release", r.Release},
		{"created", r.Created},
		{"signed by", signer},
		{"scan", r.Scan},
		{"content", fmt.Sprintf("%d volumes, %d documents, %d blobs, %s", r.Volumes, r.Files, r.Blobs, progress.Bytes(r.Bytes))},
		{"images", fmt.Sprintf("%d signatures and %d attestations by trusted keys", r.Signatures, r.Attestations)},
		{"beside", beside},
		{"verdict", verdict},
	})
}

// contentSize is the size of all blobs together, in bytes.
func contentSize(b *intake.Bundle) int64 {
	var total int64
	for _, blob := range b.Contents().Blobs {
		total += blob.Size
	}
	return total
}
