package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/intake"
	"naru/internal/progress"
	"naru/manifest"
)

func newList() *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "list BUNDLE",
		Short: "List the artifacts of a bundle",
		Args:  cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runList(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, "")
	o.output.Add(cmd)
	return cmd
}

// listed is one artifact of a bundle on one platform.
type listed struct {
	Kind     manifest.ArtifactKind `json:"kind"`
	Name     string                `json:"name"`
	Platform string                `json:"platform,omitempty"`
	Digest   string                `json:"digest"`
	Size     int64                 `json:"size"`
	Source   string                `json:"source"`
	PinnedBy manifest.PinnedBy     `json:"pinnedBy"`
}

func runList(ctx context.Context, o readOptions, paths []string, stdout, stderr io.Writer) error {
	b, err := intake.Open(ctx, o.trust.Options(paths, stderr))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	lock, err := readLock(ctx, b)
	if err != nil {
		return err
	}
	list := artifactsOf(lock)
	return o.output.Print(stdout, list, func(w io.Writer) error {
		var rows [][]string
		for _, a := range list {
			rows = append(rows, []string{string(a.Kind), a.Name, a.Platform, progress.Bytes(a.Size), a.Digest, string(a.PinnedBy)})
		}
		return cli.Table(w, []string{"KIND", "NAME", "PLATFORM", "SIZE", "DIGEST", "PINNED BY"}, rows)
	})
}

// readLock reads the lock that a bundle carries.
func readLock(ctx context.Context, b *intake.Bundle) (*manifest.Lock, error) {
	data, err := b.ReadFile(ctx, "lock.yaml")
	if err != nil {
		return nil, err
	}
	return manifest.DecodeLock("lock.yaml", data)
}

// artifactsOf flattens a lock, in its own order.
func artifactsOf(lock *manifest.Lock) []listed {
	var out []listed
	for _, img := range lock.Images {
		for _, p := range img.Platforms {
			out = append(out, listed{Kind: manifest.ArtifactImage, Name: img.Ref, Platform: p.Platform, Digest: p.Digest.String(), Size: p.Content, Source: img.Source, PinnedBy: img.PinnedBy})
		}
		for _, ref := range img.Referrers {
			out = append(out, listed{Kind: manifest.ArtifactReferrer, Name: img.Ref, Digest: ref.Digest.String(), Source: img.Source, PinnedBy: img.PinnedBy})
		}
	}
	for _, c := range lock.Charts {
		out = append(out, listed{Kind: manifest.ArtifactChart, Name: c.Component + "/" + c.Name + ":" + c.Version, Digest: c.Digest.String(), Size: c.Size, Source: c.Source, PinnedBy: c.PinnedBy})
		for _, ref := range c.Referrers {
			out = append(out, listed{Kind: manifest.ArtifactReferrer, Name: c.Component + "/" + c.Name + ":" + c.Version, Digest: ref.Digest.String(), Source: c.Source, PinnedBy: c.PinnedBy})
		}
	}
	for _, f := range lock.Files {
		out = append(out, listed{Kind: manifest.ArtifactFile, Name: f.Component + "/" + f.Name + ":" + f.Version, Platform: f.Platform, Digest: f.Digest.String(), Size: f.Size, Source: f.URL, PinnedBy: f.PinnedBy})
	}
	for _, p := range lock.Packages {
		for _, s := range p.Sources {
			out = append(out, listed{Kind: kindMetadata, Name: p.Distribution + "/" + s.Name, Platform: p.Platform, Digest: s.Digest.String(), Size: s.Total(), Source: s.URL, PinnedBy: p.PinnedBy})
		}
		for _, e := range p.Packages {
			out = append(out, listed{Kind: kindPackage, Name: p.Distribution + "/" + e.Name + "=" + e.Version, Platform: p.Platform, Digest: e.Digest.String(), Size: e.Size, Source: p.Source(e.Source).URL + "/" + e.Path, PinnedBy: p.PinnedBy})
		}
	}
	return out
}

// Kinds of the list for what is an artifact only together: OS packages and the
// metadata of their sources.
const (
	kindPackage  manifest.ArtifactKind = "package"
	kindMetadata manifest.ArtifactKind = "metadata"
)

// distributionsOf counts the distributions that a lock pins.
func distributionsOf(lock *manifest.Lock) int {
	seen := map[string]bool{}
	for _, p := range lock.Packages {
		seen[p.Distribution] = true
	}
	return len(seen)
}
