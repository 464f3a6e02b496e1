package main

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/progress"
)

func newStatus() *cobra.Command {
	var site string
	var output cli.OutputFlag
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show hosts, versions, bundles, certificates and drift of a site",
		Long: `status looks at every host of the site file and lists what is not as it says: services
that do not run, nodes that are missing or too many, certificates about to end.
It ends with exit code 24 when there is such drift.`,
		Example: "  install status -f site.yaml",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runStatus(cmd.Context(), site, &output, cmd.OutOrStdout())
		},
	}
	addSite(cmd, &site)
	output.Add(cmd)
	return cmd
}

func runStatus(ctx context.Context, site string, output *cli.OutputFlag, stdout io.Writer) error {
	s, err := install.GetStatus(ctx, site)
	if err != nil {
		return err
	}
	if err := output.Print(stdout, s, func(w io.Writer) error { return printStatus(w, s) }); err != nil {
		return err
	}
	if len(s.Drift) > 0 {
		return &install.DriftError{Count: len(s.Drift)}
	}
	return nil
}

func printStatus(w io.Writer, s *install.Status) error {
	var rows [][]string
	for _, h := range s.Hosts {
		var units []string
		for _, u := range slices.Sorted(maps.Keys(h.Units)) {
			if h.Units[u] != "active" {
				units = append(units, u+" "+h.Units[u])
			}
		}
		ends, _, _ := strings.Cut(h.CertificateEnds, "T")
		rows = append(rows, []string{h.Name, strings.Join(h.Roles, ","), h.State, h.Kubelet, h.Containerd, ends, h.OS, strings.Join(units, ", ")})
	}
	if err := cli.Table(w, []string{"HOST", "ROLES", "STATE", "KUBELET", "CONTAINERD", "CERTIFICATES", "OS", "NOT RUNNING"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, b := range s.Bundles {
		rows = append(rows, []string{b.Host, b.Bundle, progress.Bytes(b.Bytes), b.Carried, b.NotServed})
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	if err := cli.Table(w, []string{"DEPOT", "BUNDLE", "SIZE", "CARRIED", "NOT SERVED"}, rows); err != nil {
		return err
	}
	text := "\nno drift\n"
	if len(s.Drift) > 0 {
		text = "\ndrift:\n  " + strings.Join(s.Drift, "\n  ") + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
