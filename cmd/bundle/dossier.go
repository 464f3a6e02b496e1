package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"naru/internal/atomicfile"
	"naru/internal/cli"
	"naru/internal/dossier"
	"naru/internal/intake"
)

type dossierOptions struct {
	trust    cli.TrustFlags
	lang     string
	out      string
	previous string
	output   cli.OutputFlag
}

func newDossier() *cobra.Command {
	var o dossierOptions
	cmd := &cobra.Command{
		Use:   "dossier BUNDLE",
		Short: "Make the papers of a carry-in again from a bundle",
		Long: `dossier checks the signature of a bundle and writes what bundle build laid beside its
volumes: a page to print (what comes in, checksums, licences, findings with their
exceptions, key fingerprint, media labels, lines for approval), the same as tables for
a spreadsheet, and as JSON. Without other options the files are the same to the byte.

With --previous the page says what changed since an earlier bundle.`,
		Example: `  bundle dossier bundles/2025.1 --key cosign.pub --lang ko --out papers
  bundle dossier bundles/2025.2 --key cosign.pub --previous bundles/2025.1 --out papers`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDossier(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, "")
	cmd.Flags().StringVar(&o.lang, "lang", "", "language, ko or en (default: both)")
	cmd.Flags().StringVar(&o.out, "out", dossier.Folder, "folder to write")
	cmd.Flags().StringVar(&o.previous, "previous", "", "earlier bundle to compare with, signed by a trusted key as well")
	o.output.Add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions([]string{"ko", "en"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// dossierResult is the result document of dossier.
type dossierResult struct {
	Bundle string   `json:"bundle"`
	Out    string   `json:"out"`
	Files  []string `json:"files"`
}

func runDossier(ctx context.Context, o dossierOptions, paths []string, stdout, stderr io.Writer) error {
	langs := dossier.Langs()
	if o.lang != "" {
		lang, err := dossier.ParseLang(o.lang)
		if err != nil {
			return cli.Usagef("%v", err)
		}
		langs = []dossier.Lang{lang}
	}
	source, err := dossierSource(ctx, o, paths, stderr)
	if err != nil {
		return err
	}
	files, err := dossier.New(source).Files(langs...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("making the folder of the dossier: %w", err)
	}
	result := dossierResult{Bundle: source.Digest.String(), Out: o.out}
	for _, f := range files {
		if err := atomicfile.Write(filepath.Join(o.out, f.Name), f.Data, 0o644); err != nil {
			return err
		}
		result.Files = append(result.Files, f.Name)
	}
	return o.output.Print(stdout, result, func(w io.Writer) error {
		var rows [][]string
		for _, name := range result.Files {
			rows = append(rows, []string{"", filepath.Join(o.out, name)})
		}
		return cli.Table(w, []string{"bundle", result.Bundle}, rows)
	})
}

// dossierSource reads the bundle, its volumes' checksums and the earlier bundle.
func dossierSource(ctx context.Context, o dossierOptions, paths []string, stderr io.Writer) (dossier.Source, error) {
	opts := o.trust.Options(paths, stderr)
	b, err := intake.Open(ctx, opts)
	if err != nil {
		return dossier.Source{}, err
	}
	defer func() { _ = b.Close() }()
	source, err := readDossier(ctx, b)
	if err != nil {
		return source, err
	}
	sums, err := intake.VolumeSums(ctx, opts, b)
	if err != nil {
		return source, err
	}
	for i, v := range b.Volumes() {
		source.Volumes = append(source.Volumes, dossier.Volume{Number: i + 1, Name: filepath.Base(v.Path), Size: v.Size, SHA256: sums[i].Encoded()})
	}
	if o.previous != "" {
		source.Previous, err = readPrevious(ctx, o.trust.Options([]string{o.previous}, io.Discard))
	}
	return source, err
}

func readDossier(ctx context.Context, b *intake.Bundle) (dossier.Source, error) {
	var names []string
	for _, e := range b.Contents().Entries {
		names = append(names, e.Name)
	}
	source, err := dossier.Read(ctx, b, names)
	source.Digest, source.Signer = b.BundleDigest(), b.Signer
	return source, err
}

// readPrevious opens the bundle that a dossier compares with.
func readPrevious(ctx context.Context, opts intake.Options) (*dossier.Previous, error) {
	b, err := intake.Open(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("opening the previous bundle: %w", err)
	}
	defer func() { _ = b.Close() }()
	source, err := readDossier(ctx, b)
	if err != nil {
		return nil, err
	}
	return &dossier.Previous{Bundle: source.Bundle, Digest: source.Digest, Lock: source.Lock}, nil
}
