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
	"naru/pkg/sign/verify"
)

// harborFlags say which Harbor is spoken to, and as whom.
type harborFlags struct {
	url          string
	user         string
	passwordFile string
	robotFile    string
	caFiles      []string
}

// Add defines them on cmd; those that push defines for any registry are left to it.
func (f *harborFlags) Add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.url, "harbor", "", "address of Harbor, https://host[:port] (required)")
	fl.StringVar(&f.user, "user", "", "user or robot to log in as")
	fl.StringVar(&f.passwordFile, "password-file", "", "file holding its password or secret")
	fl.StringVar(&f.robotFile, "robot-file", "", "file with a robot's login that naru wrote, in place of user and password")
	fl.StringArrayVar(&f.caFiles, "ca-file", nil, "PEM file of a further certificate authority to trust (may be repeated)")
}

// login reads the password.
func (f *harborFlags) login() (install.HarborLogin, error) {
	agent := "naru-install/" + cli.Version()
	switch {
	case f.url == "":
		return install.HarborLogin{}, cli.Usagef("no Harbor is named: give --harbor https://HOST")
	case f.robotFile != "" && f.user == "" && f.passwordFile == "":
		l, err := install.ReadRobotLogin(f.robotFile)
		if err != nil {
			return install.HarborLogin{}, err
		}
		if l.Harbor != strings.TrimSuffix(f.url, "/") {
			return install.HarborLogin{}, cli.Usagef("the robot of %q is one of %s, and its secret is not shown to %s", f.robotFile, l.Harbor, f.url)
		}
		return install.HarborLogin{URL: f.url, User: l.User, Password: l.Secret, CAFiles: f.caFiles, UserAgent: agent}, nil
	case f.robotFile != "", f.user == "", f.passwordFile == "":
		return install.HarborLogin{}, cli.Usagef("nobody to log in to Harbor as: give --user and --password-file, or --robot-file")
	}
	password, err := cli.ReadSecret(f.passwordFile)
	if err != nil {
		return install.HarborLogin{}, err
	}
	return install.HarborLogin{
		URL: f.url, User: f.user, Password: password, CAFiles: f.caFiles, UserAgent: agent,
	}, nil
}

func runPushHarbor(ctx context.Context, o pushOptions, paths []string, stdout, stderr io.Writer) (err error) {
	login, err := (&harborFlags{url: o.harbor, user: o.user, passwordFile: o.passwordFile, robotFile: o.robotFile, caFiles: o.caFiles}).login()
	if err != nil {
		return err
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts := install.SeedOptions{
		AllowUnscanned: o.unscanned, Intake: o.trust.Options(paths, stderr), Harbor: login, State: o.state, Jobs: o.jobs, Only: o.only, DryRun: o.dryRun, Progress: obs,
	}
	if o.packages {
		opts.Packages = install.WithPackages
	}
	if o.mutable {
		opts.Tags = install.Mutable
	}
	result, err := install.Seed(ctx, opts)
	if result != nil && result.Report != nil && err != nil {
		_, _ = fmt.Fprintf(stderr, "report: %s\n", result.Path)
	}
	if err != nil {
		return err
	}
	obs.Close(nil)
	if o.dryRun {
		return o.output.Print(stdout, result.Plan, func(w io.Writer) error { return printPushPlan(w, result.Plan) })
	}
	return o.output.Print(stdout, result, func(w io.Writer) error { return printSeed(w, result) })
}

func printSeed(w io.Writer, r *install.SeedResult) error {
	report, p := r.Report, r.Pushed
	states := map[string]int{}
	for _, l := range report.Lock {
		states[l.State]++
	}
	rows := [][]string{
		{"projects", strings.Join(report.Projects, " ")},
		{"immutable", strings.Join(report.Immutable, " ")},
		{"artifacts", fmt.Sprintf("%d pushed, %d there already, %d under another digest", len(p.Pushed), len(p.Skipped), len(p.Mappings))},
		{"blobs", fmt.Sprintf("%d uploaded (%s), %d mounted, %d there already", p.Blobs.Uploaded, progress.Bytes(p.Blobs.Bytes), p.Blobs.Mounted, p.Blobs.Present)},
		{"compared", fmt.Sprintf("%d tags, manifests and blobs: all there", report.Checked)},
		{"lock", fmt.Sprintf("%d digests held, %d mapped, %d left out", states[install.LockHeld], states[install.LockMapped], states[install.LockLeftOut])},
	}
	rows = append(rows, mappingRows(report.Mappings)...)
	for _, orphan := range report.Orphans {
		rows = append(rows, []string{"referrer", fmt.Sprintf("%s of %s, which Harbor does not hold: %s", orphan.Digest, orphan.Subject, orphan.Outcome)})
	}
	rows = append(rows, []string{"report", r.Path})
	if r.NewKey {
		rows = append(rows, []string{"site key", "made now; carry site.pub out once: " + verify.GroupFingerprint(report.SiteKey)})
	}
	return cli.Table(w, []string{"harbor", report.Harbor + " " + report.Version}, rows)
}
