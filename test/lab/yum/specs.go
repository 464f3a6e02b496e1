package yum

import (
	"fmt"
	"strings"
)

// Spec is a package to build.
type Spec struct {
	Name, Version string
	Epoch         int
	// Repository is "base" if empty.
	Repository string
	// Arches are those it is built for; noarch if empty.
	Arches []string
	// Tags are further lines of its preamble ("Requires: lab-lib >= 1").
	Tags []string
	// Files are paths of files that it holds.
	Files []string
}

// both are the architectures of the lab.
var both = []string{"x86_64", "aarch64"}

// Specs are the packages of the lab. "lab-app" is the one to install.
func Specs() []Spec {
	return append(application(), surroundings()...)
}

// App is the package whose closure has everything.
const App = "lab-app"

func application() []Spec {
	return []Spec{
		{Name: App, Version: "1.5~rc1", Epoch: 2, Arches: both, Files: []string{"/usr/bin/lab-app", "/etc/lab-app.conf"}, Tags: []string{
			"Requires: lab-lib >= 1.2",
			"Requires: lab-virtual = 3.0",
			"Requires: /usr/bin/labtool",
			"Requires: /usr/share/lab/data.txt",
			"Requires: lab-epoch >= 1:1.0",
			"Requires: (lab-x11 or (lab-wayland and lab-wl-utils))",
			"Requires: (lab-selinux if lab-policy else lab-plain)",
			"Requires: (lab-extra if lab-desktop)",
			"Requires: (lab-db >= 2 with lab-db < 4)",
			"Requires: (lab-crypto without lab-legacy)",
			"Requires: lab-mod-client",
			"Recommends: lab-weak",
			"Suggests: lab-weaker",
			"Conflicts: (lab-old unless lab-bridge)",
		}},
		{Name: "lab-lib", Version: "1.1", Arches: append([]string{"i686"}, both...)},
		{Name: "lab-lib", Version: "1.3", Arches: append([]string{"i686"}, both...)},
		{Name: "lab-lib", Version: "1.3^git1", Repository: "updates", Arches: append([]string{"i686"}, both...)},
		{Name: "lab-provider-a", Version: "1", Tags: []string{"Provides: lab-virtual = 3.0"}},
		{Name: "lab-provider-b", Version: "1", Tags: []string{"Provides: lab-virtual = 3.0", "Requires: lab-b-helper"}},
		{Name: "lab-b-helper", Version: "1"},
		{Name: "lab-provider-old", Version: "1", Tags: []string{"Provides: lab-virtual = 2.0"}},
		{Name: "lab-tool", Version: "1", Arches: both, Files: []string{"/usr/bin/labtool"}},
		{Name: "lab-data", Version: "1", Files: []string{"/usr/share/lab/data.txt"}},
		{Name: "lab-epoch", Version: "0.9", Epoch: 1},
		{Name: "lab-epoch", Version: "1.0", Epoch: 1},
		{Name: "lab-epoch", Version: "7.0"}, // newer to the eye alone
	}
}

func surroundings() []Spec {
	return []Spec{
		{Name: "lab-x11", Version: "1"},
		{Name: "lab-wayland", Version: "1"},
		{Name: "lab-wayland-ng", Version: "2", Repository: "updates", Tags: []string{"Obsoletes: lab-wayland < 2", "Provides: lab-wayland = 2"}},
		{Name: "lab-wl-utils", Version: "1", Tags: []string{"Requires: lab-wayland"}},
		{Name: "lab-policy", Version: "1"},
		{Name: "lab-selinux", Version: "1", Tags: []string{"Requires: lab-policy"}},
		{Name: "lab-plain", Version: "1"},
		{Name: "lab-desktop", Version: "1"},
		{Name: "lab-extra", Version: "1"},
		{Name: "lab-db", Version: "1"},
		{Name: "lab-db", Version: "3"},
		{Name: "lab-db", Version: "5"},
		{Name: "lab-crypto-new", Version: "1", Tags: []string{"Provides: lab-crypto"}},
		{Name: "lab-crypto-old", Version: "9", Tags: []string{"Provides: lab-crypto", "Provides: lab-legacy"}},
		{Name: "lab-weak", Version: "1"},
		{Name: "lab-weaker", Version: "1"},
		{Name: "lab-old", Version: "1"},
		{Name: "lab-bridge", Version: "1"},
		{Name: "lab-mod-client", Version: "1.0"},                             // outside of the module: hidden
		{Name: "lab-mod-client", Version: "2.0", Tags: []string{"%modular"}}, // the default stream
		{Name: "lab-mod-client", Version: "3.0", Tags: []string{"%modular"}}, // another stream
		{Name: "lab-broken", Version: "1", Tags: []string{"Requires: lab-nowhere"}},
		{Name: "lab-needs-broken", Version: "1", Tags: []string{"Requires: lab-broken"}},
		{Name: "lab-alternative", Version: "1", Tags: []string{"Requires: lab-choice"}},
		{Name: "lab-choice-good", Version: "1", Tags: []string{"Provides: lab-choice"}},
		{Name: "lab-choice-bad", Version: "1", Tags: []string{"Provides: lab-choice", "Requires: lab-nowhere"}},
	}
}

// modules is the modules.yaml of the base repository: stream 2 of module lab-mod is
// the default.
func modules() string {
	var b strings.Builder
	for _, stream := range []string{"2", "3"} {
		fmt.Fprintf(&b, `---
document: modulemd
version: 2
data:
  name: lab-mod
  stream: %q
  version: 20250101
  context: abcdef12
  arch: x86_64
  summary: A module of the lab
  description: A module of the lab.
  license: {module: [MIT]}
  dependencies: [{requires: {platform: []}}]
  artifacts: {rpms: [%q]}
...
`, stream, "lab-mod-client-0:"+stream+".0-1.noarch")
	}
	b.WriteString(`---
document: modulemd-defaults
version: 1
data: {module: lab-mod, stream: "2", profiles: {}}
...
`)
	return b.String()
}

// text is the spec file.
func (s *Spec) text(arch string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Name: %s\nVersion: %s\nRelease: 1\nSummary: A package of the lab\nLicense: MIT\n", s.Name, s.Version)
	if s.Epoch > 0 {
		fmt.Fprintf(&b, "Epoch: %d\n", s.Epoch)
	}
	if arch == "noarch" {
		b.WriteString("BuildArch: noarch\n")
	}
	for _, t := range s.Tags {
		if t == "%modular" {
			t = "ModularityLabel: lab-mod:" + s.Version
		}
		b.WriteString(t + "\n")
	}
	b.WriteString("%description\nMade for a test run.\n%install\n")
	for _, f := range s.Files {
		fmt.Fprintf(&b, "mkdir -p %%{buildroot}%s\necho %s > %%{buildroot}%s\n", f[:strings.LastIndexByte(f, '/')], s.Name, f)
	}
	fmt.Fprintf(&b, "mkdir -p %%{buildroot}/usr/share/doc/%s\necho %s > %%{buildroot}/usr/share/doc/%s/README\n", s.Name, s.Version, s.Name)
	b.WriteString("%files\n/usr/share/doc/" + s.Name + "\n" + strings.Join(s.Files, "\n") + "\n")
	return b.String()
}
