package internet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/test/facts"
	"naru/test/lab/layout"
)

// Internet is the generated content of the world.
type Internet struct {
	Layout *layout.Layout
	// Hosts are all that something was published on.
	Hosts []string
	// Digests maps digests that the facts say to those of the content in their place,
	// both as 64 hex digits.
	Digests map[string]string
	// Keyrings are public keys, armoured, in the place of the vendors', by name.
	Keyrings map[string][]byte
	// Counts of what was published.
	Images, Charts, Files, Packages int
}

// maker generates an Internet.
type maker struct {
	*layout.Writer
	out   *Internet
	set   *manifest.ReleaseSet
	dir   string
	hosts map[string]bool
	// inside says what the release expects in the files of an address.
	inside map[string]*inside
}

// Make generates everything that the facts know of below dir. The release set lends
// only what is inside of files, and the addresses that its distributions have their
// packages at.
func Make(ctx context.Context, dir string, set *manifest.ReleaseSet) (*Internet, error) {
	all, err := facts.All()
	if err != nil {
		return nil, err
	}
	w, err := layout.NewWriter(filepath.Join(dir, "layout"))
	if err != nil {
		return nil, err
	}
	m := &maker{Writer: w, set: set, dir: dir, hosts: map[string]bool{}, inside: insides(set),
		out: &Internet{Digests: map[string]string{}, Keyrings: map[string][]byte{}}}
	for _, step := range []func(context.Context, []facts.Artifact) error{m.images, m.charts, m.files, m.packages} {
		if err := step(ctx, all); err != nil {
			return nil, fmt.Errorf("making the internet: %w", err)
		}
	}
	if m.out.Layout, err = w.Close(); err != nil {
		return nil, err
	}
	for h := range m.hosts {
		m.out.Hosts = append(m.out.Hosts, h)
	}
	slices.Sort(m.out.Hosts)
	return m.out, nil
}

// replaced notes which digest stands in for one of the facts.
func (m *maker) replaced(fact string, d digest.Digest) {
	if fact != "" {
		m.out.Digests[fact] = d.Encoded()
	}
}

// seed is content that depends on a name alone, n bytes of it.
func seed(name string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func (m *maker) host(ref string) {
	h, _, _ := strings.Cut(ref, "/")
	m.hosts[h] = true
}
