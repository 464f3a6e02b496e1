package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/internal/dossier"
	"naru/internal/intake"
	"naru/internal/progress"
	"naru/internal/resident"
)

type buildOptions struct {
	source       sourceFlags
	locked       bool
	out          string
	volume       cli.SizeFlag
	key          string
	passwordFile string
	unsigned     bool
	installers   string
	noInstaller  bool
	replace      bool
	fresh        bool
	dryRun       bool
	networkClass string
	previous     string
	previousKeys []string
	scan         scanFlags
	noScan       bool
	trustedRoot  string
	output       cli.OutputFlag
}

func newBuild() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build [flags]",
		Short: "Fetch a release and pack it into one signed bundle",
		Long: `build pins what is not pinned yet, fetches what the cache does not hold, scans it for
known vulnerabilities, secrets and misconfiguration, judges that by --policy, signs, and
writes a folder that goes onto the media as it is: the volumes, the install program,
SHA256SUMS with its signature, the lock and a README.

It can be interrupted at any time and run again: complete content is not fetched
twice, and a bundle that is there already is left alone.`,
		Example: `  bundle build --release demo --key cosign.key
  bundle build --release demo --profile minimal --platform linux/amd64 --volume-size dvd --key cosign.key
  bundle build --release demo --key cosign.key --policy policy.yaml --vex supplier.openvex.json
  bundle build -f my-image.yaml --key cosign.key --out bundles/add-on`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBuild(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.source.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&o.locked, "locked", false, "refuse anything that no lock pins")
	fl.StringVar(&o.out, "out", "", "folder to write (default: bundles/ and the release's name)")
	fl.Var(&o.volume, "volume-size", "largest volume: a size (4GiB, 700MB) or "+strings.Join(cli.PresetNames(), ", ")+" (default: one volume)")
	fl.StringVar(&o.key, "key", "", "private key made by bundle keygen or cosign, or a KMS URI; its password is asked for, or in COSIGN_PASSWORD")
	fl.StringVar(&o.passwordFile, "password-file", "", "file holding the key's password")
	fl.BoolVar(&o.unsigned, "unsigned", false, "build without a signature (install refuses such a bundle)")
	fl.StringVar(&o.installers, "installers", "", "folder with install-OS-ARCH binaries (default: beside this program)")
	fl.BoolVar(&o.noInstaller, "no-installer", false, "do not lay the install program beside the volumes")
	fl.BoolVar(&o.replace, "replace", false, "replace another bundle in the folder")
	fl.BoolVar(&o.fresh, "fresh", false, "do not take over the lock of an earlier run into the same folder")
	fl.BoolVar(&o.dryRun, "dry-run", false, "pin and print what would be fetched and needed, then stop")
	fl.StringVar(&o.networkClass, "network-class", "", "class of the network it is for, by N2SF: C, S or O; recorded under the signature")
	fl.StringVar(&o.previous, "previous", "", "earlier bundle that the dossier compares with")
	fl.StringArrayVar(&o.previousKeys, "previous-key", nil, "public key that signed the earlier bundle (default: the .pub beside --key; may be repeated)")
	fl.StringVar(&o.trustedRoot, "trusted-root", "", "sigstore trusted root (JSON) to verify keyless signatures of upstream with; it is carried")
	o.scan.add(cmd, "registry reference, or OCI layout in a folder or tar")
	fl.BoolVar(&o.noScan, "no-scan", false, "do not scan; the bundle says so and install refuses it unless the site allows that")
	o.output.Add(cmd)
	cmd.MarkFlagsMutuallyExclusive("key", "unsigned")
	cmd.MarkFlagsMutuallyExclusive("no-scan", "policy")
	_ = cmd.RegisterFlagCompletionFunc("volume-size", cobra.FixedCompletions(cli.PresetNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runBuild(ctx context.Context, o buildOptions, stdout, stderr io.Writer) (err error) {
	obs := o.source.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts, err := o.source.options(obs)
	if err != nil {
		return err
	}
	opts.Locked, opts.VolumeSize, opts.Unsigned, opts.Replace, opts.DryRun = o.locked, o.volume.Bytes, o.unsigned, o.replace, o.dryRun
	opts.OutDir, opts.Fresh = o.out, o.fresh
	if o.trustedRoot != "" {
		if opts.TrustedRoot, err = os.ReadFile(o.trustedRoot); err != nil {
			return fmt.Errorf("reading the trusted root: %w", err)
		}
	}
	if !o.noScan && !o.dryRun {
		if opts.Scan, err = o.scan.options(); err != nil {
			return err
		}
		debug.SetMemoryLimit(scanMemoryLimit)
	}
	if !o.noInstaller && !o.dryRun {
		opts.InstallerDir, err = installerDir(o.installers)
		if err != nil {
			return err
		}
	}
	if o.key == "" && !o.unsigned && !o.dryRun {
		return cli.Usagef("no key to sign with: give --key FILE (bundle keygen makes one), or --unsigned")
	}
	if o.key != "" {
		opts.Signer = newLazySigner(o.key, o.passwordFile)
	}
	if opts.NetworkClass = o.networkClass; o.networkClass != "" && !slices.Contains([]string{"C", "S", "O"}, o.networkClass) {
		return cli.Usagef("--network-class %q: want C, S or O", o.networkClass)
	}
	if opts.Previous, err = o.openPrevious(ctx); err != nil {
		return err
	}
	resident.Trim()
	result, err := build.Build(ctx, opts)
	if err != nil {
		return err
	}
	obs.Close(nil)
	return o.output.Print(stdout, result, func(w io.Writer) error { return printBuild(w, result) })
}

// openPrevious opens the bundle that the dossier compares with; nil for none.
func (o *buildOptions) openPrevious(ctx context.Context) (*dossier.Previous, error) {
	if o.previous == "" {
		return nil, nil
	}
	keys := o.previousKeys
	if len(keys) == 0 && strings.HasSuffix(o.key, ".key") {
		keys = []string{strings.TrimSuffix(o.key, ".key") + ".pub"}
	}
	return readPrevious(ctx, intake.Options{Paths: []string{o.previous}, Keys: keys})
}

// installerDir is the folder that install binaries are taken from.
func installerDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's folder: %w (name it with --installers)", err)
	}
	return filepath.Dir(exe), nil
}

func printBuild(w io.Writer, r *build.Result) error {
	if r.DryRun {
		_, err := fmt.Fprintf(w, "%d images, %d charts, %d files, %d OS packages, %s of content; %s to fetch, %s needed in the cache and %s in %s\n",
			r.Images, r.Charts, r.Files, r.Packages, progress.Bytes(r.Bytes), progress.Bytes(r.Fetched), progress.Bytes(r.NeededCache), progress.Bytes(r.NeededOut), r.Out)
		return err
	}
	rows := [][]string{
		{"bundle", r.Bundle},
		{"release", r.Release},
		{"content", fmt.Sprintf("%d images, %d charts, %d files, %d OS packages, %d blobs, %s", r.Images, r.Charts, r.Files, r.Packages, r.Blobs, progress.Bytes(r.Bytes))},
		{"scan", r.Scan},
		{"signed", signedText(r)},
	}
	for _, v := range r.Volumes {
		rows = append(rows, []string{"volume", fmt.Sprintf("%s  %s  sha256:%s", v.Name, progress.Bytes(v.Size), v.SHA256)})
	}
	if d := r.Discovery; d != nil {
		rows = append(rows, []string{"rendered", fmt.Sprintf("%d charts and manifests for Kubernetes %s, %d images found, all carried", d.Rendered, d.Kubernetes, d.Found)})
	}
	if len(r.Pulled) > 0 {
		rows = append(rows, []string{"also", "required by others: " + strings.Join(r.Pulled, ", ")})
	}
	if len(r.NotCarried) > 0 {
		rows = append(rows, []string{"NOT CARRIED", "to be supplied by you: " + strings.Join(r.NotCarried, ", ") + " (bundle releases show says how)"})
	}
	state := "written"
	if r.UpToDate {
		state = "up to date, nothing to do"
	}
	return cli.Table(w, []string{r.Out, state}, rows)
}

func signedText(r *build.Result) string {
	if !r.Signed {
		return "NO: install refuses this bundle"
	}
	return "yes, key " + r.Fingerprint
}
