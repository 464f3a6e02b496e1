package chart

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"naru/manifest"
	"naru/pkg/stack/kustomize"
)

// Content gives what a component carries.
type Content interface {
	// Chart opens the packaged chart of a name.
	Chart(ctx context.Context, component, name string) (io.ReadCloser, error)
	// File is a carried file whole.
	File(ctx context.Context, component, name string) ([]byte, error)
}

// Rendered is a step with the facts of a site filled in.
type Rendered struct {
	// Chart is the name and version of the step's chart, "" for manifests.
	Chart string
	// Values of the chart, those of the step alone.
	Values  map[string]any
	Objects []Object
}

// RenderStep renders a step, whether its condition holds or not. What steps of the
// same component installed before is part of caps.
func RenderStep(ctx context.Context, content Content, c *manifest.ComponentSpec, s *manifest.Step, facts *manifest.Facts, caps Capabilities) (*Rendered, error) {
	render := renderManifests
	if s.Chart != "" {
		render = renderChart
	}
	out, err := render(ctx, content, c, s, facts, caps)
	if err != nil {
		return nil, fmt.Errorf("rendering step %q of component %q: %w", s.Name, c.ID, err)
	}
	return out, nil
}

func renderChart(ctx context.Context, content Content, c *manifest.ComponentSpec, s *manifest.Step, facts *manifest.Facts, caps Capabilities) (*Rendered, error) {
	ch, err := open(ctx, content, c.ID, s.Chart)
	if err != nil {
		return nil, err
	}
	values, err := Values(s, facts)
	if err != nil {
		return nil, err
	}
	objects, err := ch.Render(Release{Name: s.ReleaseName(), Namespace: s.Namespace}, values, caps)
	if err != nil {
		return nil, err
	}
	return &Rendered{Chart: ch.String(), Values: values, Objects: objects}, nil
}

// open loads a chart of a component.
func open(ctx context.Context, content Content, component, name string) (*Chart, error) {
	r, err := content.Chart(ctx, component, name)
	if err != nil {
		return nil, fmt.Errorf("opening chart %q: %w", name, err)
	}
	defer func() { _ = r.Close() }()
	return Load(r)
}

// Values are the values that a step gives its chart.
func Values(s *manifest.Step, facts *manifest.Facts) (map[string]any, error) {
	text, err := facts.Render(s.Name, s.Values)
	if err != nil {
		return nil, err
	}
	return ParseValues(text)
}

func renderManifests(ctx context.Context, content Content, c *manifest.ComponentSpec, s *manifest.Step, facts *manifest.Facts, _ Capabilities) (*Rendered, error) {
	var objects []Object
	trees := map[string]*kustomize.Tree{}
	for _, name := range s.Manifests {
		data, err := manifestText(ctx, content, c.ID, name, trees)
		if err != nil {
			return nil, err
		}
		parsed, err := ParseObjects(name, data)
		if err != nil {
			return nil, err
		}
		objects = append(objects, parsed...)
	}
	for _, p := range s.Patches {
		patch, err := facts.Render(s.Name, p.Patch)
		if err != nil {
			return nil, err
		}
		if err := Patch(objects, p, patch); err != nil {
			return nil, err
		}
	}
	text, err := facts.Render(s.Name, s.Inline)
	if err != nil {
		return nil, err
	}
	inline, err := ParseObjects("inline", []byte(text))
	if err != nil {
		return nil, err
	}
	return &Rendered{Objects: append(objects, inline...)}, nil
}

// manifestText is the YAML that an entry of a step's manifests stands for: a carried
// file, or a kustomization in one. trees keeps archives that were read.
func manifestText(ctx context.Context, content Content, component, name string, trees map[string]*kustomize.Tree) ([]byte, error) {
	file, folder := manifest.SplitManifest(name)
	tree := trees[file]
	if tree == nil {
		data, err := content.File(ctx, component, file)
		if err != nil {
			return nil, fmt.Errorf("reading file %q: %w", file, err)
		}
		if folder == "" {
			return data, nil
		}
		if tree, err = kustomize.Read(bytes.NewReader(data), ""); err != nil {
			return nil, fmt.Errorf("reading archive %q: %w", file, err)
		}
		trees[file] = tree
	}
	return tree.Build(folder)
}

// RenderDefaults renders a chart that no step installs, with its own values.
func RenderDefaults(ctx context.Context, content Content, component, name string, caps Capabilities) (*Rendered, error) {
	ch, err := open(ctx, content, component, name)
	if err != nil {
		return nil, err
	}
	objects, err := ch.Render(Release{Name: name, Namespace: "default"}, map[string]any{}, caps)
	if err != nil {
		return nil, err
	}
	return &Rendered{Chart: ch.String(), Objects: objects}, nil
}
