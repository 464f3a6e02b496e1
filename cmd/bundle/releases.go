package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/manifest"
)

func newReleases() *cobra.Command {
	cmd := &cobra.Command{Use: "releases", Short: "List and show the releases this program carries", Args: cli.Args(cobra.NoArgs)}
	cmd.AddCommand(newReleasesList(), newReleasesShow())
	return cmd
}

type releaseSummary struct {
	Name       string   `json:"name"`
	Title      string   `json:"title"`
	Kubernetes string   `json:"kubernetes,omitempty"`
	Platforms  []string `json:"platforms"`
	Profiles   []string `json:"profiles"`
}

func newReleasesList() *cobra.Command {
	var out cli.OutputFlag
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the releases",
		Args:  cli.Args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return runReleasesList(out, cmd.OutOrStdout()) },
	}
	out.Add(cmd)
	return cmd
}

func runReleasesList(out cli.OutputFlag, stdout io.Writer) error {
	fsys := manifest.EmbeddedReleases()
	names, err := manifest.ReleaseNames(fsys)
	if err != nil {
		return err
	}
	var list []releaseSummary
	var rows [][]string
	for _, name := range names {
		set, err := manifest.LoadRelease(fsys, name)
		if err != nil {
			return err
		}
		s := releaseSummary{Name: set.Name, Title: set.Title, Kubernetes: set.Kubernetes, Platforms: set.Platforms}
		for _, p := range set.Profiles {
			s.Profiles = append(s.Profiles, p.Name)
		}
		list = append(list, s)
		rows = append(rows, []string{s.Name, s.Kubernetes, strings.Join(s.Profiles, ","), strings.Join(s.Platforms, ","), s.Title})
	}
	return out.Print(stdout, list, func(w io.Writer) error {
		return cli.Table(w, []string{"RELEASE", "KUBERNETES", "PROFILES", "PLATFORMS", "TITLE"}, rows)
	})
}

type componentSummary struct {
	ID        string   `json:"id"`
	Version   string   `json:"version"`
	License   string   `json:"license,omitempty"`
	EndOfLife string   `json:"endOfLife,omitempty"`
	Requires  []string `json:"requires,omitempty"`
	Images    []string `json:"images,omitempty"`
	Charts    []string `json:"charts,omitempty"`
	Files     []string `json:"files,omitempty"`
}

func newReleasesShow() *cobra.Command {
	var out cli.OutputFlag
	var profile string
	cmd := &cobra.Command{
		Use:   "show RELEASE",
		Short: "Show the components of a release",
		Args:  cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReleasesShow(out, args[0], profile, cmd.OutOrStdout())
		},
		ValidArgsFunction: completeReleases,
	}
	cmd.Flags().StringVar(&profile, "profile", "", "profile to show (default: the release's own default)")
	out.Add(cmd)
	return cmd
}

func runReleasesShow(out cli.OutputFlag, name, profile string, stdout io.Writer) error {
	fsys, base := releaseFS(name)
	set, err := manifest.LoadRelease(fsys, base)
	if err != nil {
		return err
	}
	sel, err := manifest.Select(set, nil, manifest.SelectOptions{Profile: profile})
	if err != nil {
		return err
	}
	var list []componentSummary
	var rows [][]string
	for _, c := range sel.Components {
		s := componentSummary{ID: c.ID, Version: c.Version, License: c.License, EndOfLife: c.EndOfLife, Requires: c.Requires}
		for _, img := range c.Images {
			s.Images = append(s.Images, img.Ref)
		}
		for _, ch := range c.Charts {
			s.Charts = append(s.Charts, ch.Name+" "+ch.Version)
		}
		for _, f := range c.Files {
			s.Files = append(s.Files, f.Name)
		}
		list = append(list, s)
		rows = append(rows, []string{s.ID, s.Version, s.License, s.EndOfLife, strconv.Itoa(len(s.Images)), strconv.Itoa(len(s.Charts)), strconv.Itoa(len(s.Files)), strings.Join(s.Requires, ",")})
	}
	return out.Print(stdout, list, func(w io.Writer) error {
		return cli.Table(w, []string{"COMPONENT", "VERSION", "LICENCE", "END OF LIFE", "IMAGES", "CHARTS", "FILES", "REQUIRES"}, rows)
	})
}
