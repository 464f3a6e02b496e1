package serve

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"naru/manifest"
)

// repoFile is the .repo file of a distribution: "naru.repo" with the repositories
// that every carried architecture has, and "naru-<arch>.repo" with those of one.
// base ends in a slash.
func (s *system) repoFile(name, base string) (string, bool) {
	arches := slices.Sorted(maps.Keys(s.sources))
	if name == "naru.repo" {
		return s.repoText(s.common(arches), "$basearch", base), true
	}
	arch, ok := strings.CutPrefix(name, "naru-")
	if !ok {
		return "", false
	}
	if arch, ok = strings.CutSuffix(arch, ".repo"); !ok || s.sources[arch] == nil {
		return "", false
	}
	return s.repoText(s.sources[arch], arch, base), true
}

// common are the sources that all architectures have.
func (s *system) common(arches []string) []manifest.ConfigPackageSource {
	return slices.DeleteFunc(slices.Clone(s.sources[arches[0]]), func(c manifest.ConfigPackageSource) bool {
		return slices.ContainsFunc(arches, func(arch string) bool {
			return !slices.ContainsFunc(s.sources[arch], func(o manifest.ConfigPackageSource) bool { return o.Name == c.Name })
		})
	})
}

// repoText writes the sections. Signatures are always checked: those of packages,
// and of repomd.xml where the vendor made one. The metadata is asked for again soon,
// since a new bundle may bring newer; drpms are not carried. module_hotfixes stays
// off: the vendor's module metadata is carried and decides, as it did when the
// closure was made.
func (s *system) repoText(sources []manifest.ConfigPackageSource, arch, base string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Packages of %s that were carried in, signed by their vendor. The certificate of\n"+
		"# this depot is signed by its own CA: set sslcacert to the file that holds it.\n", cmp.Or(s.Title, s.Distribution))
	for _, c := range sources {
		signed := 0
		if c.Signer != "" {
			signed = 1
		}
		fmt.Fprintf(&b, `
[naru-%[1]s-%[2]s]
name=%[3]s, %[2]s, carried in
baseurl=%[4]s%[2]s/%[5]s/
enabled=1
gpgcheck=1
repo_gpgcheck=%[6]d
gpgkey=%[4]skeyrings/%[7]s.asc
sslverify=1
metadata_expire=300
deltarpm=0
`, s.Distribution, c.Name, cmp.Or(s.Title, s.Distribution), base, arch, signed, c.Keyring)
	}
	return b.String()
}
