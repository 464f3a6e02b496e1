package main

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/intake"
	"naru/internal/progress"
)

func newDiff() *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare the artifacts of two bundles",
		Args:  cli.Args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDiff(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, "")
	o.output.Add(cmd)
	return cmd
}

// change is one artifact that two bundles do not have alike.
type change struct {
	// Change is added, removed or changed.
	Change   string `json:"change"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Platform string `json:"platform,omitempty"`
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
}

// difference is the result document of diff.
type difference struct {
	Old     string   `json:"old"`
	New     string   `json:"new"`
	Changes []change `json:"changes"`
	// NewBlobs counts the blobs that only the new bundle has, NewBytes their content.
	NewBlobs int   `json:"newBlobs"`
	NewBytes int64 `json:"newBytes"`
}

func runDiff(ctx context.Context, o readOptions, paths []string, stdout, stderr io.Writer) error {
	opts := o.trust.Options(paths, stderr)
	var bundles [2]*intake.Bundle
	for i, path := range paths { // one by one: they may be the same bundle
		opts.Paths = []string{path}
		b, err := intake.Open(ctx, opts)
		if err != nil {
			return fmt.Errorf("opening %q: %w", path, err)
		}
		defer func() { _ = b.Close() }()
		bundles[i] = b
	}
	before, after := bundles[0], bundles[1]
	oldLock, err := readLock(ctx, before)
	if err != nil {
		return err
	}
	newLock, err := readLock(ctx, after)
	if err != nil {
		return err
	}
	d := difference{Old: before.BundleDigest().String(), New: after.BundleDigest().String(), Changes: changes(artifactsOf(oldLock), artifactsOf(newLock))}
	had := map[digest.Digest]bool{}
	for _, b := range before.Contents().Blobs {
		had[b.Digest] = true
	}
	for _, b := range after.Contents().Blobs {
		if !had[b.Digest] {
			d.NewBlobs++
			d.NewBytes += b.Size
		}
	}
	return o.output.Print(stdout, d, func(w io.Writer) error { return printDifference(w, d) })
}

// changes compares two lists of artifacts by kind, name and platform.
func changes(before, after []listed) []change {
	type key struct{ kind, name, platform string }
	keyOf := func(a listed) key {
		k := key{string(a.Kind), a.Name, a.Platform}
		if a.Kind == "referrer" {
			k.name += " " + a.Digest // referrers have no name of their own
		}
		return k
	}
	old := map[key]string{}
	for _, a := range before {
		old[keyOf(a)] = a.Digest
	}
	var out []change
	kept := map[key]bool{}
	for _, a := range after {
		k := keyOf(a)
		kept[k] = true
		switch was, ok := old[k]; {
		case !ok:
			out = append(out, change{Change: "added", Kind: k.kind, Name: a.Name, Platform: a.Platform, New: a.Digest})
		case was != a.Digest:
			out = append(out, change{Change: "changed", Kind: k.kind, Name: a.Name, Platform: a.Platform, Old: was, New: a.Digest})
		}
	}
	for _, a := range before {
		if k := keyOf(a); !kept[k] {
			out = append(out, change{Change: "removed", Kind: k.kind, Name: a.Name, Platform: a.Platform, Old: a.Digest})
		}
	}
	return out
}

func printDifference(w io.Writer, d difference) error {
	var rows [][]string
	for _, c := range d.Changes {
		rows = append(rows, []string{c.Change, c.Kind, c.Name, c.Platform, c.Old, c.New})
	}
	if err := cli.Table(w, []string{"CHANGE", "KIND", "NAME", "PLATFORM", "OLD", "NEW"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d changes, %d blobs (%s) that the old bundle does not have\n", len(d.Changes), d.NewBlobs, progress.Bytes(d.NewBytes))
	return err
}
