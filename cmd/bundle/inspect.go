package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/intake"
	"naru/internal/progress"
	"naru/manifest"
	"naru/pkg/archive"
)

type readOptions struct {
	trust  cli.TrustFlags
	output cli.OutputFlag
}

func newInspect() *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "inspect BUNDLE",
		Short: "Show what a bundle says of itself",
		Long: `inspect checks the signature of a bundle and prints its signed description and
its volumes. It does not read the content: that is what verify does.`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, "")
	o.output.Add(cmd)
	return cmd
}

// inspection is the result document of inspect.
type inspection struct {
	Bundle   string               `json:"bundle"`
	SignedBy string               `json:"signedBy,omitempty"`
	Document *manifest.Bundle     `json:"document"`
	Volumes  []archive.VolumeInfo `json:"volumes"`
	// Artifacts counts what the bundle carries by kind.
	Artifacts map[manifest.ArtifactKind]int `json:"artifacts"`
	Blobs     int                           `json:"blobs"`
	Bytes     int64                         `json:"bytes"`
}

func runInspect(ctx context.Context, o readOptions, paths []string, stdout, stderr io.Writer) error {
	b, err := intake.Open(ctx, o.trust.Options(paths, stderr))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	result := inspection{Bundle: b.BundleDigest().String(), SignedBy: b.Signer, Document: b.Bundle(), Volumes: b.Volumes(), Artifacts: map[manifest.ArtifactKind]int{}}
	for _, d := range b.Index().Manifests {
		result.Artifacts[manifest.ArtifactKind(d.Annotations[manifest.AnnotationKind])]++
	}
	for _, blob := range b.Contents().Blobs {
		result.Blobs++
		result.Bytes += blob.Size
	}
	return o.output.Print(stdout, result, func(w io.Writer) error { return printInspection(w, result) })
}

func printInspection(w io.Writer, r inspection) error {
	d := r.Document
	rows := [][]string{
		{"release", strings.TrimSpace(d.Release + " " + d.Profile)},
		{"components", strings.Join(d.Components, ", ")},
		{"platforms", strings.Join(d.Platforms, ", ")},
		{"created", d.Created + " by bundle " + d.Builder.Version},
		{"scan", string(d.Scan.Verdict)},
		{"signed by", r.SignedBy},
		{"content", fmt.Sprintf("%d blobs, %s", r.Blobs, progress.Bytes(r.Bytes))},
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Artifacts)) {
		rows = append(rows, []string{string(kind), fmt.Sprint(r.Artifacts[kind])})
	}
	for _, host := range slices.Sorted(maps.Keys(d.Builder.RegistryMap)) {
		rows = append(rows, []string{"fetched", host + " from " + d.Builder.RegistryMap[host]})
	}
	for _, v := range r.Volumes {
		rows = append(rows, []string{"volume", fmt.Sprintf("%d of %d  %s  %s", v.Number, len(r.Volumes), v.Path, progress.Bytes(v.Size))})
	}
	return cli.Table(w, []string{"bundle", r.Bundle}, rows)
}
