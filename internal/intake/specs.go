package intake

import (
	"context"
	"fmt"
	"path"
	"strings"

	"naru/manifest"
)

// Specs are the components that a bundle was made of, out of the release and content
// files it carries, those of content files in the place of the release's by the same
// id.
func (b *Bundle) Specs(ctx context.Context) ([]*manifest.ComponentSpec, error) {
	var out []*manifest.ComponentSpec
	at := map[string]int{}
	add := func(c *manifest.ComponentSpec) {
		if i, ok := at[c.ID]; ok {
			out[i] = c
			return
		}
		at[c.ID] = len(out)
		out = append(out, c)
	}
	for _, e := range b.Contents().Entries {
		component := strings.HasPrefix(e.Name, "release/components/")
		content := strings.HasPrefix(e.Name, "release/content/")
		if !component && !content {
			continue
		}
		data, err := b.ReadFile(ctx, e.Name)
		if err != nil {
			return nil, err
		}
		if component {
			c, err := manifest.DecodeComponent(path.Base(e.Name), data)
			if err != nil {
				return nil, fmt.Errorf("reading what the bundle was made of: %w", err)
			}
			add(c)
			continue
		}
		c, err := manifest.DecodeContent(path.Base(e.Name), data)
		if err != nil {
			return nil, fmt.Errorf("reading what the bundle was made of: %w", err)
		}
		for _, spec := range c.Specs() {
			add(&spec)
		}
	}
	return out, nil
}
