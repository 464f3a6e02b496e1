package yum

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Distribution is a built one.
type Distribution struct {
	// Dir holds <repository>/<arch>/, each a repository with repodata and a signed
	// repomd.xml.
	Dir string
	// PublicKey is what everything is signed with, armoured.
	PublicKey []byte
	gnupg     string
}

// Repository is the folder of a repository for an architecture.
func (d *Distribution) Repository(name, arch string) string { return filepath.Join(d.Dir, name, arch) }

// Build makes the lab's distribution below dir, which may be empty or missing. It
// needs rpmbuild, rpmsign, createrepo_c, modifyrepo_c and gpg.
func Build(ctx context.Context, dir string) (*Distribution, error) {
	d, err := NewKey(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := d.buildAll(ctx, filepath.Join(dir, "build"), Specs()); err != nil {
		return nil, fmt.Errorf("building the yum lab: %w", err)
	}
	for _, name := range []string{"base", "updates"} {
		for _, arch := range both {
			if err := d.index(ctx, name, arch); err != nil {
				return nil, fmt.Errorf("building the yum lab: %w", err)
			}
		}
	}
	return d, nil
}

// NewKey makes a key below dir and a distribution without packages.
func NewKey(ctx context.Context, dir string) (*Distribution, error) {
	d := &Distribution{Dir: filepath.Join(dir, "repos"), gnupg: filepath.Join(dir, "gnupg")}
	if err := d.makeKey(ctx); err != nil {
		return nil, fmt.Errorf("building the yum lab: %w", err)
	}
	return d, nil
}

// keyName is the identity of the lab's key.
const keyName = "naru yum lab"

// makeKey makes a key pair for this run alone. The path of an agent's socket is
// bounded, so the folder should have a short name.
func (d *Distribution) makeKey(ctx context.Context) error {
	if err := os.MkdirAll(d.gnupg, 0o700); err != nil {
		return err
	}
	if _, err := d.gpg(ctx, "--passphrase", "", "--quick-gen-key", keyName, "rsa2048", "sign", "never"); err != nil {
		return err
	}
	key, err := d.gpg(ctx, "--armor", "--export", keyName)
	d.PublicKey = key
	return err
}

func (d *Distribution) gpg(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, "", "gpg", append([]string{"--homedir", d.gnupg, "--batch", "--yes", "--pinentry-mode", "loopback"}, args...)...)
}

// Close ends the agent that gpg started for the key.
func (d *Distribution) Close() error {
	_, err := run(context.Background(), "", "gpgconf", "--homedir", d.gnupg, "--kill", "all")
	return err
}

// buildAll builds and signs every package and puts it into its repositories.
func (d *Distribution) buildAll(ctx context.Context, work string, specs []Spec) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i := range specs {
		arches := specs[i].Arches
		if len(arches) == 0 {
			arches = []string{"noarch"}
		}
		for _, arch := range arches {
			group.Go(func() error {
				return d.build(gctx, filepath.Join(work, fmt.Sprintf("%d-%s", i, arch)), &specs[i], arch)
			})
		}
	}
	return group.Wait()
}

func (d *Distribution) build(ctx context.Context, work string, s *Spec, arch string) error {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	spec := filepath.Join(work, s.Name+".spec")
	if err := os.WriteFile(spec, []byte(s.text(arch)), 0o644); err != nil {
		return err
	}
	// The date is fixed so that a package has the same content in every run.
	_, err := run(ctx, "", "rpmbuild", "-bb", "--target", arch, "--define", "_topdir "+work, "--define", "_build_id_links none",
		"--define", "use_source_date_epoch_as_buildtime 1", "--define", "_buildhost lab", "--define", "__os_install_post %{nil}", spec)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(work, "RPMS", arch, "*.rpm"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("building %q for %s made %d packages: %w", s.Name, arch, len(files), err)
	}
	if err := d.Sign(ctx, files[0]); err != nil {
		return err
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	for _, to := range both {
		if arch != "noarch" && arch != to && (arch != "i686" || to != "x86_64") {
			continue
		}
		repo := s.Repository
		if repo == "" {
			repo = "base"
		}
		dir := filepath.Join(d.Repository(repo, to), "Packages")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Sign signs package files with the lab's key.
func (d *Distribution) Sign(ctx context.Context, files ...string) error {
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		return err
	}
	args := []string{"--addsign", "--define", "__gpg " + gpg, "--define", "_gpg_name " + keyName, "--define", "_gpg_path " + d.gnupg,
		"--define", "_gpg_digest_algo sha256", "--define", "_gpg_sign_cmd_extra_args --batch --pinentry-mode loopback"}
	_, err = run(ctx, "", "rpmsign", append(args, files...)...)
	return err
}

// index writes the repodata of a repository and signs it.
func (d *Distribution) index(ctx context.Context, name, arch string) error {
	text := ""
	if name == "base" {
		text = strings.ReplaceAll(modules(), "arch: x86_64", "arch: "+arch)
	}
	return d.Index(ctx, d.Repository(name, arch), text)
}

// Index makes a folder of packages a repository, with module metadata if there is
// any, and signs it.
func (d *Distribution) Index(ctx context.Context, dir, modules string) error {
	if _, err := run(ctx, "", "createrepo_c", "--quiet", "--revision", "1735689600", "--set-timestamp-to-revision", dir); err != nil {
		return err
	}
	if modules != "" {
		file := dir + "-modules.yaml"
		if err := os.WriteFile(file, []byte(modules), 0o644); err != nil {
			return err
		}
		if _, err := run(ctx, "", "modifyrepo_c", "--mdtype=modules", file, filepath.Join(dir, "repodata")); err != nil {
			return err
		}
	}
	repomd := filepath.Join(dir, "repodata", "repomd.xml")
	_, err := d.gpg(ctx, "--armor", "--detach-sign", "--output", repomd+".asc", repomd)
	return err
}

// ClearSign signs a text in itself, as InRelease is.
func (d *Distribution) ClearSign(ctx context.Context, text []byte) ([]byte, error) {
	file := filepath.Join(d.gnupg, "clear.txt")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return d.gpg(ctx, "--clear-sign", "--output", "-", file)
}

// BuildPlain builds and signs a package without dependencies of each name, all by one
// spec file, and returns their files.
func (d *Distribution) BuildPlain(ctx context.Context, work string, names []string) ([]string, error) {
	var b strings.Builder
	b.WriteString("Name: lab-all\nVersion: 1.0\nRelease: 1\nSummary: lab\nLicense: MIT\nBuildArch: noarch\n%description\nlab\n")
	for _, name := range names {
		fmt.Fprintf(&b, "%%package -n %s\nSummary: lab\n%%description -n %s\nlab\n%%files -n %s\n", name, name, name)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	spec := filepath.Join(work, "all.spec")
	if err := os.WriteFile(spec, []byte(b.String()), 0o644); err != nil {
		return nil, err
	}
	if _, err := run(ctx, "", "rpmbuild", "-bb", "--define", "_topdir "+work, "--define", "_buildhost lab", "--define", "__os_install_post %{nil}", spec); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(work, "RPMS", "noarch", "*.rpm"))
	if err != nil {
		return nil, err
	}
	if len(files) != len(names) {
		return nil, fmt.Errorf("%d packages were built of %d names", len(files), len(names))
	}
	return files, d.Sign(ctx, files...)
}

// run runs a tool; its error holds what the tool said.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SOURCE_DATE_EPOCH=1735689600")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running %s: %w: %s", name, err, strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.Bytes(), nil
}
