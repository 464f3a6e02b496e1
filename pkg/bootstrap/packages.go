package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"naru/manifest"
)

// PackageSource is a private source of OS packages: only naru's own calls see it.
type PackageSource struct {
	ID     string
	Family manifest.Family
	// Dir holds its files on the host.
	Dir    string
	CAFile string
	Repos  []PackageRepo
}

// PackageRepo is one repository with the vendor's key.
type PackageRepo struct {
	Name, URL, Suite string
	Sections         []string
	Keyring          string
	Key              []byte
	SignedMetadata   bool
}

// at is the source with its files in another folder.
func (s PackageSource) at(dir string) PackageSource { s.Dir = dir; return s }

// files are the source as the package manager reads it, with the vendor's keys.
func (s PackageSource) files() []File {
	var b strings.Builder
	b.WriteString("# Written by naru, for its own calls alone.\n")
	keys := map[string]File{}
	for _, r := range s.Repos {
		key := path.Join(s.Dir, "keyrings", r.Keyring+".asc")
		keys[key] = File{Path: key, Mode: "0644", Content: r.Key}
		if s.Family == manifest.FamilyDeb {
			// Ages are not checked, since what was carried in only gets older; signatures are.
			fmt.Fprintf(&b, "\nTypes: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\nTargets: Packages\nCheck-Valid-Until: no\nCheck-Date: no\n",
				r.URL, r.Suite, strings.Join(r.Sections, " "), key)
			continue
		}
		signed := 0
		if r.SignedMetadata {
			signed = 1
		}
		fmt.Fprintf(&b, "\n[naru-%s]\nname=naru %s\nbaseurl=%s\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=%d\ngpgkey=file://%s\nmetadata_expire=1\ndeltarpm=0\n", r.Name, r.Name, r.URL, signed, key)
		if s.CAFile != "" {
			fmt.Fprintf(&b, "sslcacert=%s\n", s.CAFile)
		}
	}
	name := "sources/naru.sources"
	if s.Family == manifest.FamilyRPM {
		name = "repos/naru.repo"
	}
	out := []File{{Path: path.Join(s.Dir, name), Mode: "0644", Content: []byte(b.String())}}
	for _, f := range keys {
		out = append(out, f)
	}
	return out
}

// apt are the arguments that show apt-get this source alone. Its lists and caches
// lie in a folder of their own, so that a call after an update need not read the
// lists again.
func (s PackageSource) apt(state string) []string {
	args := []string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q",
		"-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=" + s.Dir + "/sources",
		"-o", "Dir::State::Lists=" + state + "/lists", "-o", "Dir::Cache::pkgcache=" + state + "/pkgcache.bin", "-o", "Dir::Cache::srcpkgcache=" + state + "/srcpkgcache.bin",
		"-o", "Dir::Cache::Archives=" + state + "/archives",
		"-o", "APT::Get::List-Cleanup=0", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2", "-o", "Acquire::Languages=none",
		"-o", "APT::Install-Recommends=false", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
		"-o", "Acquire::http::Proxy=false", "-o", "Acquire::https::Proxy=false", "-o", "APT::Update::Post-Invoke-Success=", "-o", "APT::Update::Post-Invoke="}
	if s.CAFile != "" {
		args = append(args, "-o", "Acquire::https::CAInfo="+s.CAFile)
	}
	return args
}

func (s PackageSource) dnf(state string) []string {
	return []string{"LC_ALL=C", "dnf", "-q", "--setopt=reposdir=" + s.Dir + "/repos", "--setopt=cachedir=" + state + "/dnf", "--setopt=install_weak_deps=False", "--setopt=keepcache=False"}
}

// MissingPackages are those of the names that are not installed, in the version
// that a name gives with "=".
func (h *Host) MissingPackages(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	script := `for p in "$@"; do
  n=${p%%=*}; v=
  case $p in *=*) v=${p#*=};; esac
  s=$(dpkg-query -W -f '${Status} ${Version}\n' "$n" 2>/dev/null || true)
  case $s in "install ok installed "*) [ -z "$v" ] || [ "${s#install ok installed }" = "$v" ] || echo "$p";; *) echo "$p";; esac
done`
	if h.Facts != nil && h.Facts.PackageManager == "dnf" {
		script = `for p in "$@"; do rpm -q --whatprovides "${p%%=*}" >/dev/null 2>&1 || echo "$p"; done`
	}
	out, err := h.Script(ctx, script, names...)
	return strings.Fields(out), err
}

// InstallPackages installs names out of the source. It waits for the package
// manager's lock, and completes what an earlier call was cut off in.
func (h *Host) InstallPackages(ctx context.Context, s PackageSource, names []string) error {
	if _, err := h.Ensure(ctx, s.files()); err != nil {
		return err
	}
	state := StateDir + "/" + string(s.Family)
	if _, err := h.Script(ctx, `install -d -m 0755 "$1" "$1/lists/partial" "$1/archives/partial"`, state); err != nil {
		return err
	}
	if s.Family == manifest.FamilyRPM {
		return h.Do(ctx, append(append([]string{"env"}, s.dnf(state)...), append([]string{"-y", "install"}, names...)...)...)
	}
	if err := h.Do(ctx, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confdef", "--force-confold", "--configure", "-a"); err != nil {
		return fmt.Errorf("completing an installation that was cut off: %w", err)
	}
	apt := append([]string{"env"}, s.apt(state)...)
	if err := h.Do(ctx, append(apt, "update")...); err != nil {
		return fmt.Errorf("reading the depot's package lists: %w", err)
	}
	if err := h.Do(ctx, append(apt, append([]string{"-y", "--no-remove", "install"}, names...)...)...); err != nil {
		return fmt.Errorf("installing packages: %w", err)
	}
	return h.Do(ctx, append(apt, "clean")...)
}

// SimulatePackages lets the package manager plan the installation and returns what
// stands against it, or "". Nothing is written but a folder below /tmp, which is
// removed.
func (h *Host) SimulatePackages(ctx context.Context, s PackageSource, names []string) (_ string, err error) {
	dir, err := h.Output(ctx, "mktemp", "-d", "/tmp/naru.XXXXXX")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Do(context.WithoutCancel(ctx), "rm", "-rf", "--", dir)) }()
	s = s.at(dir)
	// apt reads as another user: the folder must let it in.
	if _, err := h.Script(ctx, `chmod 755 "$1"; install -d -m 0755 "$1/lists/partial" "$1/archives/partial"`, dir); err != nil {
		return "", err
	}
	for _, f := range s.files() {
		if err := h.Put(ctx, f); err != nil {
			return "", err
		}
	}
	if s.Family == manifest.FamilyRPM {
		return h.planned(ctx, "Operation aborted", append(s.dnf(dir), append([]string{"--assumeno", "--setopt=tsflags=test", "install"}, names...)...))
	}
	if said, err := h.planned(ctx, "", append(s.apt(dir), "update")); said != "" || err != nil {
		return said, err
	}
	return h.planned(ctx, "", append(s.apt(dir), append([]string{"-s", "--no-remove", "install"}, names...)...))
}

// planned lets the package manager plan and returns what it says when it refuses,
// or "" when all it says is fine.
func (h *Host) planned(ctx context.Context, fine string, argv []string) (string, error) {
	r, err := h.Runner.Run(ctx, Command{Argv: append([]string{"env"}, argv...)})
	var exit *ExitError
	if !errors.As(err, &exit) {
		return "", err
	}
	said := string(r.Stdout) + "\n" + string(r.Stderr)
	if fine != "" && strings.Contains(said, fine) {
		return "", nil
	}
	// apt names the packages that stand against each other on standard output.
	if i := strings.Index(said, "The following packages have unmet dependencies"); i >= 0 {
		said = said[i:]
	}
	return tail([]byte(strings.Join(strings.Fields(said), " ")), 1500), nil
}
