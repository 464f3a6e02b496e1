package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/progress"
	"naru/pkg/harbor"
)

// newHarbor holds the commands that administer Harbor.
func newHarbor() *cobra.Command {
	cmd := &cobra.Command{Use: "harbor", Short: "Look after the Harbor of the site"}
	cmd.AddCommand(newHarborStatus(), newHarborSetup(), newHarborRotate())
	return cmd
}

type harborStatusOptions struct {
	harbor harborFlags
	output cli.OutputFlag
}

func newHarborStatus() *cobra.Command {
	var o harborStatusOptions
	cmd := &cobra.Command{
		Use:   "status --harbor URL",
		Short: "Show how Harbor is: health, projects, quotas, robots, replication",
		Long: `status looks at a Harbor and changes nothing: the version and health of its parts,
each project with its quota, immutability and retention, naru's robots and when they
expire, replication policies with their last run, and the last garbage collection. What
the user has no right to see is named.`,
		Example: "  install harbor status --harbor https://harbor.site --user admin --password-file /root/harbor",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runHarborStatus(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	o.harbor.Add(cmd)
	o.output.Add(cmd)
	return cmd
}

func runHarborStatus(ctx context.Context, o harborStatusOptions, stdout io.Writer) error {
	login, err := o.harbor.login()
	if err != nil {
		return err
	}
	s, err := install.StatusOfHarbor(ctx, login)
	if err != nil {
		return err
	}
	return o.output.Print(stdout, s, func(w io.Writer) error { return printHarborStatus(w, s) })
}

func printHarborStatus(w io.Writer, s *install.HarborState) error {
	rows := [][]string{{"projects are made by", s.Info.ProjectCreation}}
	for _, p := range s.Projects {
		rows = append(rows, []string{"project " + p.Name, describeProject(p)})
	}
	for _, r := range s.Robots {
		life := "does not expire"
		if r.Expires != "" {
			life = "expires " + r.Expires
		}
		site := "no site"
		if r.Site != "" {
			site = "site " + r.Site
		}
		rows = append(rows, []string{"robot " + r.Name, string(r.Role) + ", " + site + ", " + life})
	}
	for _, p := range s.Replications {
		rows = append(rows, []string{"replication " + p.Name, describeReplication(p)})
	}
	if s.GC != nil {
		rows = append(rows, []string{"garbage collection", s.GC.Status + " " + s.GC.Started})
	}
	for _, what := range s.Hidden {
		rows = append(rows, []string{what, "not for this user to see"})
	}
	return cli.Table(w, []string{"harbor", s.URL + " " + s.Info.Version + ", healthy"}, rows)
}

func describeProject(p install.ProjectState) string {
	parts := []string{fmt.Sprintf("%d repositories", p.Repositories)}
	if p.Quota != nil {
		limit := "no limit"
		if p.Quota.Hard != harbor.Unlimited {
			limit = "of " + progress.Bytes(p.Quota.Hard)
		}
		parts = append(parts, progress.Bytes(p.Quota.Used)+" "+limit)
	}
	if p.Public {
		parts = append(parts, "PUBLIC")
	}
	if p.Immutable {
		parts = append(parts, "tags immutable")
	}
	if len(p.Retention) > 0 {
		parts = append(parts, "keeps "+strings.Join(p.Retention, ", "))
	}
	return strings.Join(parts, ", ")
}

func describeReplication(p install.ReplicationState) string {
	text := fmt.Sprintf("%s %s, %s", p.Direction, p.Endpoint.URL, strings.ReplaceAll(string(p.Trigger), "_", " "))
	if !p.Enabled {
		text += ", switched off"
	}
	if p.Last == nil {
		return text + ", never run"
	}
	text += fmt.Sprintf(", last run: %d of %d done, %d failed", p.Last.Succeed, p.Last.Tasks, len(p.Last.Failures))
	if !p.Last.Done {
		text += ", running"
	}
	return text
}
