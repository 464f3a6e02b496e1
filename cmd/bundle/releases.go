package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/overview"
	"naru/internal/progress"
	"naru/manifest"
)

func newReleases() *cobra.Command {
	cmd := &cobra.Command{Use: "releases", Short: "List and show the releases this program carries", Args: cli.Args(cobra.NoArgs)}
	cmd.AddCommand(newReleasesList(), newReleasesShow(), newReleasesHosts())
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

// releaseView is what releases show prints.
type releaseView struct {
	Release       string               `json:"release"`
	Title         string               `json:"title,omitempty"`
	Kubernetes    string               `json:"kubernetes,omitempty"`
	Profile       string               `json:"profile"`
	Platforms     []string             `json:"platforms"`
	Distributions []string             `json:"distributions,omitempty"`
	Components    []overview.Component `json:"components"`
	Size          overview.Size        `json:"size"`
}

func newReleasesShow() *cobra.Command {
	var out cli.OutputFlag
	var profile string
	cmd := &cobra.Command{
		Use:   "show RELEASE",
		Short: "Show the components of a release, their licences, ends of life and known sizes",
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

// choose loads a release and selects a profile of it.
func choose(name, profile string) (*manifest.ReleaseSet, *manifest.Selection, error) {
	fsys, base := releaseFS(name)
	set, err := manifest.LoadRelease(fsys, base)
	if err != nil {
		return nil, nil, err
	}
	sel, err := manifest.Select(set, nil, manifest.SelectOptions{Profile: profile})
	return set, sel, err
}

func runReleasesShow(out cli.OutputFlag, name, profile string, stdout io.Writer) error {
	set, sel, err := choose(name, profile)
	if err != nil {
		return err
	}
	v := releaseView{Release: set.Name, Title: set.Title, Kubernetes: set.Kubernetes, Profile: sel.Profile, Platforms: sel.Platforms, Components: overview.Of(sel, set.Shipped)}
	v.Size = overview.Total(v.Components)
	for _, d := range sel.Distributions {
		v.Distributions = append(v.Distributions, d.ID)
	}
	return out.Print(stdout, v, func(w io.Writer) error {
		var rows [][]string
		for _, c := range v.Components {
			license := c.License
			if c.Supply != "" {
				license += " (the user brings it)"
			}
			rows = append(rows, []string{c.ID, c.Version, license, c.EndOfLife, strconv.Itoa(len(c.Images)), strconv.Itoa(len(c.Charts)),
				strconv.Itoa(len(c.Files)), knownSize(c.Size), strings.Join(c.Requires, ",")})
		}
		rows = append(rows, []string{"total", "", "", "", "", "", "", knownSize(v.Size)})
		return cli.Table(w, []string{"COMPONENT", "VERSION", "LICENCE", "END OF LIFE", "IMAGES", "CHARTS", "FILES", "KNOWN SIZE", "REQUIRES"}, rows)
	})
}

// knownSize is a size for people: "1.2 GiB + 3 unknown".
func knownSize(s overview.Size) string {
	switch {
	case s.Unknown == 0:
		return progress.Bytes(s.Known)
	case s.Known == 0:
		return fmt.Sprintf("%d unknown", s.Unknown)
	}
	return fmt.Sprintf("%s + %d unknown", progress.Bytes(s.Known), s.Unknown)
}

func newReleasesHosts() *cobra.Command {
	var out cli.OutputFlag
	var profile string
	cmd := &cobra.Command{
		Use:   "hosts RELEASE",
		Short: "List the hosts that a proxy must let through for a build",
		Long: `hosts lists the hosts that a build of the release fetches from: registries, chart
repositories, download sites, package archives. The last column names further hosts that
these are known to send clients to, which change without notice.`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReleasesHosts(out, args[0], profile, cmd.OutOrStdout())
		},
		ValidArgsFunction: completeReleases,
	}
	cmd.Flags().StringVar(&profile, "profile", "", "profile to list for (default: the release's own default)")
	out.Add(cmd)
	return cmd
}

func runReleasesHosts(out cli.OutputFlag, name, profile string, stdout io.Writer) error {
	set, sel, err := choose(name, profile)
	if err != nil {
		return err
	}
	hosts := overview.Hosts(sel, set.Shipped)
	return out.Print(stdout, hosts, func(w io.Writer) error {
		var rows [][]string
		for _, h := range hosts {
			rows = append(rows, []string{h.Name, strings.Join(h.For, ","), strconv.Itoa(len(h.Components)), strings.Join(h.Also, " ")})
		}
		return cli.Table(w, []string{"HOST", "FOR", "COMPONENTS", "SENDS CLIENTS TO"}, rows)
	})
}
