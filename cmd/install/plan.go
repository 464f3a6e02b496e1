package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/phase"
)

func newPlan() *cobra.Command {
	var f siteFlags
	cmd := &cobra.Command{
		Use:   "plan BUNDLE...",
		Short: "Tell what apply would do, and do nothing",
		Long: `plan looks at every host and lists what apply would change. It is the plan that apply
executes. What only an earlier phase brings into being is listed as to be done.`,
		Example: "  install plan /media/usb --key signer.pub -f site.yaml",
		Args:    cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPlan(cmd.Context(), f, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	f.addPhases(cmd)
	return cmd
}

// planResult is the result document of plan.
type planResult struct {
	Skipped map[string]string `json:"skipped,omitempty"`
	ToDo    []phase.Probed    `json:"toDo"`
	Holds   int               `json:"holds"`
}

func runPlan(ctx context.Context, f siteFlags, paths []string, stdout, stderr io.Writer) (err error) {
	obs := f.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	plan, probed, err := install.PlanSite(ctx, install.ApplyOptions{Intake: f.trust.Options(paths, stderr), SiteFile: f.site, Select: f.sel, AllowUnscanned: f.unscanned, StateDir: f.state, Progress: obs})
	if err != nil {
		return err
	}
	obs.Close(nil)
	r := planResult{Skipped: map[string]string{}, ToDo: []phase.Probed{}}
	for _, s := range plan.Steps {
		if s.Skipped != "" {
			r.Skipped[s.Name] = s.Skipped
		}
	}
	for _, p := range probed {
		if p.Holds {
			r.Holds++
		} else {
			r.ToDo = append(r.ToDo, p)
		}
	}
	return f.output.Print(stdout, r, func(w io.Writer) error { return printPlan(w, plan, r) })
}

func printPlan(w io.Writer, plan *phase.Plan, r planResult) error {
	var rows [][]string
	for _, s := range plan.Steps {
		if s.Skipped != "" {
			rows = append(rows, []string{s.Name, "", "skipped: " + s.Skipped})
		}
		for _, p := range r.ToDo {
			if p.Phase == s.Name {
				rows = append(rows, []string{p.Phase, p.Host, p.What})
			}
		}
	}
	if len(r.ToDo) == 0 {
		rows = append(rows, []string{"", "", "nothing to do"})
	}
	if err := cli.Table(w, []string{"PHASE", "HOST", "TO DO"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d to do, %d hold already\n", len(r.ToDo), r.Holds)
	return err
}
