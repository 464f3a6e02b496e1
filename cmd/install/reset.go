package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
)

type resetOptions struct {
	progress cli.ProgressFlags
	site     string
	state    string
	yes      bool
	all      bool
}

func newReset() *cobra.Command {
	var o resetOptions
	cmd := &cobra.Command{
		Use:   "reset HOST... | --all",
		Short: "Take hosts out of the cluster and naru off them",
		Long: `reset removes the cluster from the hosts, or from those named: a host named leaves the
cluster first. Everything that naru put there goes, with the data of pods and etcd;
OS packages stay, and so does the site's signed record where a host has it: site key,
journal, reports, logins of Harbor's robots, revoked keys. apply works on such hosts again. It asks first.

A host is reset where it bears the mark that apply puts there (/var/lib/naru/cluster) and is
no node of another cluster. One of another cluster stops reset before anything is touched,
one without a mark is left as it is.`,
		Example: "  install reset -f site.yaml w3\n  install reset -f site.yaml --all --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReset(cmd.Context(), o, args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.progress.Add(cmd)
	addSite(cmd, &o.site)
	cmd.Flags().StringVar(&o.state, "state", install.DefaultState, "folder of this machine with the site key and the journal, which notes the reset")
	_ = cmd.MarkFlagDirname("state")
	cmd.Flags().BoolVar(&o.all, "all", false, "all hosts of the site file")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

// errNotConfirmed is returned when the question was not answered with yes.
var errNotConfirmed = cli.Usagef("reset was not confirmed: nothing was done")

func runReset(ctx context.Context, o resetOptions, hosts []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	if (len(hosts) > 0) == o.all {
		return cli.Usagef("name the hosts to reset, or give --all")
	}
	opts := install.ResetOptions{SiteFile: o.site, Hosts: hosts, StateDir: o.state}
	site, targets, err := install.ResetTargets(opts)
	if err != nil {
		return err
	}
	if !o.yes {
		_, _ = fmt.Fprintf(stderr, "This destroys what cluster %q keeps on: %s\nType yes to go on: ", site.Name, strings.Join(targets, ", "))
		answer, _ := bufio.NewReader(stdin).ReadString('\n')
		if strings.TrimSpace(answer) != "yes" {
			return errNotConfirmed
		}
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts.Progress = obs
	r, err := install.ResetSite(ctx, opts)
	if err != nil {
		return err
	}
	obs.Close(nil)
	if len(r.Hosts) > 0 {
		_, err = fmt.Fprintf(stdout, "reset: %s\n", strings.Join(r.Hosts, ", "))
	}
	if len(r.Left) > 0 {
		_, werr := fmt.Fprintf(stdout, "left as they are, without a mark of naru: %s\n", strings.Join(r.Left, ", "))
		err = errors.Join(err, werr)
	}
	for _, k := range r.Kept {
		_, werr := fmt.Fprintf(stdout, "kept on %s, of the site's record: %s\n", k.Host, strings.Join(k.Paths, " "))
		err = errors.Join(err, werr)
	}
	return err
}
