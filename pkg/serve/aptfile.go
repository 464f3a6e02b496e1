package serve

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"naru/manifest"
)

// aptFile is the deb822 sources file of a distribution: "naru-<arch>.sources" for one
// architecture and "naru.sources" for whatever the client's is. base ends in a slash;
// keyring reads keys by name.
func (s *system) aptFile(name, base string, keyring func(name string) (string, error)) (string, bool, error) {
	arches := slices.Sorted(maps.Keys(s.sources))
	if name == "naru.sources" {
		if len(arches) == 1 {
			text, err := s.aptText(s.sources[arches[0]], arches[0], base, keyring)
			return text, true, err
		}
		text, err := s.aptText(s.common(arches), "", base, keyring)
		return text, true, err
	}
	arch, ok := strings.CutPrefix(name, "naru-")
	if !ok {
		return "", false, nil
	}
	if arch, ok = strings.CutSuffix(arch, ".sources"); !ok || s.sources[arch] == nil {
		return "", false, nil
	}
	text, err := s.aptText(s.sources[arch], arch, base, keyring)
	return text, true, err
}

// aptText writes the stanzas. Signatures are always checked, with the vendor's keys
// alone; only the age of what was signed is not: it was carried in. Nothing but
// Packages indexes is carried, so nothing else is asked for.
func (s *system) aptText(sources []manifest.ConfigPackageSource, arch, base string, keyring func(string) (string, error)) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Packages of %s that were carried in, signed by their vendor. The certificate of\n"+
		"# this depot is signed by its own CA: set Acquire::https::CAInfo to the file that holds it.\n", cmp.Or(s.Title, s.Distribution))
	if arch == "" {
		fmt.Fprintf(&b, "# Hosts with foreign architectures take naru-<architecture>.sources instead.\n")
	}
	for _, c := range sources {
		keys, err := keyring(c.Keyring)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\nTypes: deb\nURIs: %s%s\nSuites: %s\nComponents: %s\n", base, c.Root, c.Suite, strings.Join(c.Sections, " "))
		if arch != "" {
			fmt.Fprintf(&b, "Architectures: %s\n", arch)
		}
		b.WriteString("Targets: Packages\nCheck-Valid-Until: no\nCheck-Date: no\nSigned-By:\n")
		for line := range strings.Lines(strings.TrimSpace(keys)) {
			if line = strings.TrimSpace(line); line == "" {
				line = "."
			}
			fmt.Fprintf(&b, " %s\n", line)
		}
	}
	return b.String(), nil
}

// keyring reads keys that a bundle carries for a distribution.
func (s *Server) keyring(ctx context.Context, t *packageTree, distribution, name string) (string, error) {
	f, ok := t.files[distribution+"/keyrings/"+name+".asc"]
	if !ok {
		return "", fmt.Errorf("reading keyring %q of %q: no bundle carries it", name, distribution)
	}
	data, err := s.contents.readAll(ctx, f.digest, f.size)
	return string(data), err
}

// byHash is where apt asks for an index by its digest, "" where it does not.
func byHash(p string, f file) string {
	dir, name := path.Split(p)
	if !strings.Contains(p, "/dists/") || name == "InRelease" || strings.Contains(p, "/by-hash/") {
		return ""
	}
	return dir + "by-hash/SHA256/" + f.digest.Encoded()
}

// signedAt is when the vendor signed the metadata that a path is part of; zero where
// that is not known.
func signedAt(config *manifest.PackagesConfig, title string) time.Time {
	for _, c := range config.Sources {
		if strings.HasPrefix(title, c.Root+"/") {
			if t, err := time.Parse(time.RFC3339, c.Date); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// unchanged answers a client that has this very state of a file. Only the same date
// counts: a depot may go back to older metadata, and a client that is ahead of it
// must not keep what it has.
func unchanged(w *recorder, r *http.Request, f file) bool {
	if f.modified.IsZero() {
		return false
	}
	w.Header().Set("Last-Modified", f.modified.UTC().Format(http.TimeFormat))
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	if err != nil || r.Header.Get("If-None-Match") != "" || !since.Equal(f.modified) {
		return false
	}
	w.Header().Set("Etag", etag(f.digest))
	w.WriteHeader(http.StatusNotModified)
	return true
}
