package internet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/test/facts"
	"naru/test/lab/helmchart"
)

// charts publishes every chart of the facts, without templates, in its repository.
func (m *maker) charts(_ context.Context, all []facts.Artifact) error {
	repositories := map[string][]*helmchart.Chart{}
	done := map[string]bool{}
	for _, a := range all {
		key := a.Repository + " " + a.Name + " " + a.Version
		if a.Kind != facts.Chart || a.Name == "" || a.Version == "" || !address(a.Repository) || done[key] {
			continue // some are in a git repository alone
		}
		done[key] = true
		c, err := helmchart.Package(map[string]string{"Chart.yaml": fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %q\n", a.Name, a.Version), "values.yaml": "{}\n"})
		if err != nil {
			return fmt.Errorf("chart %q: %w", a.Name, err)
		}
		sum := sha256.Sum256(c.Package)
		m.replaced(a.SHA256, digest.NewDigestFromBytes(digest.SHA256, sum[:]))
		m.out.Charts++
		if err := m.atOwnAddress(a, c); err != nil {
			return err
		}
		root := strings.TrimSuffix(a.Repository, "/")
		if registry, ok := strings.CutPrefix(root, "oci://"); ok {
			m.host(registry)
			if _, err := helmchart.Push(m.Writer, strings.TrimSuffix(registry, "/"+a.Name), c); err != nil {
				return err
			}
			continue
		}
		repositories[root] = append(repositories[root], c)
	}
	for root, list := range repositories {
		m.host(strings.TrimPrefix(root, "https://"))
		if err := helmchart.Publish(m.Writer, root, list...); err != nil {
			return fmt.Errorf("chart repository %q: %w", root, err)
		}
	}
	return nil
}

// atOwnAddress publishes packaged charts once more where the facts say that they lie.
func (m *maker) atOwnAddress(a facts.Artifact, c *helmchart.Chart) error {
	if !address(a.URL) {
		return nil
	}
	m.host(strings.TrimPrefix(a.URL, "https://"))
	_, err := m.File(a.URL, func(w io.Writer) error { _, err := w.Write(c.Package); return err })
	return err
}

// address tells a repository that can be fetched from.
func address(s string) bool {
	return (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "oci://")) && !strings.ContainsAny(s, " <{")
}
