package lint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"naru/internal/discover"
	"naru/manifest"
	"naru/pkg/stack/chart"
)

// renderer looks at what steps render to.
type renderer struct {
	*linter
	// brought are the API versions that a component's steps and apiVersions bring;
	// partial marks components of which something did not render.
	brought map[string][]string
	partial map[string]bool
}

// render renders every step and chart out of a folder, and holds the images found
// against those listed, and custom resources against the steps that bring their kind.
func (l *linter) render(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("reading the charts: %w", err)
	}
	components := l.inOrder()
	r := &renderer{linter: l, brought: map[string][]string{}, partial: map[string]bool{}}
	for _, c := range components {
		r.brought[c.ID] = slices.Clone(c.APIVersions)
	}
	report, err := discover.Run(ctx, discover.Input{
		Release: l.set.Name, Kubernetes: l.set.Kubernetes, Components: components,
		Content: Folder{Dir: dir, Set: l.set}, OnError: r.failed, OnStep: r.step,
	})
	var missing *discover.MissingImagesError
	if err != nil && !errors.As(err, &missing) {
		return err
	}
	if missing != nil {
		for _, m := range missing.Images {
			why := m.Why
			if why == "" {
				why = "neither it nor a component that it requires lists it"
			}
			l.reporter("unlisted", m.Component)(Error, "images", "%s names image %q: %s", m.Hit, m.Hit.Text, why)
		}
	}
	l.report.Rendered, l.report.Images = report.Rendered, report.Found
	r.unused(report.Unused)
	for _, u := range report.Unchecked {
		l.add(Finding{Severity: Note, Rule: "unchecked", File: l.report.Release, Message: "a chart that no step installs: " + u})
	}
	for _, at := range report.ByIndexDigest {
		l.add(Finding{Severity: Note, Rule: "index-digest", File: l.report.Release, Message: "named by the digest of an index, which a pushed copy does not have: " + at})
	}
	return nil
}

// inOrder are the components, each after those it requires.
func (l *linter) inOrder() []*manifest.ComponentSpec {
	var out []*manifest.ComponentSpec
	done := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		c := l.set.Specs[id]
		if c == nil || done[id] {
			return
		}
		done[id] = true
		for _, need := range c.Requires {
			visit(need)
		}
		out = append(out, c)
	}
	for _, id := range l.set.Components {
		visit(id)
	}
	return out
}

// failed takes a step that does not render.
func (r *renderer) failed(c *manifest.ComponentSpec, s *manifest.Step, err error) {
	r.partial[c.ID] = true
	at := "charts"
	if s != nil {
		at = fmt.Sprintf("steps[%d]", slices.IndexFunc(c.Steps, func(o manifest.Step) bool { return o.Name == s.Name }))
	}
	if errors.Is(err, fs.ErrNotExist) {
		r.report.Missing++
		r.reporter("not-rendered", c.ID)(Warning, at, "%v", err)
		return
	}
	r.reporter("render", c.ID)(Error, at, "%v", err)
}

// step notes what a rendered step brings, and wants the kinds that it uses to be there
// by then: brought by this step, by one before it, or by a component required.
func (r *renderer) step(c *manifest.ComponentSpec, s *manifest.Step, rendered *chart.Rendered) {
	r.brought[c.ID] = append(r.brought[c.ID], chart.Provides(rendered.Objects)...)
	have, complete := r.available(c)
	at := fmt.Sprintf("steps[%d]", slices.IndexFunc(c.Steps, func(o manifest.Step) bool { return o.Name == s.Name }))
	for _, o := range rendered.Objects {
		if o.CRD || builtin(o.Group()) || have[o.APIVersion()] || have[o.APIVersion()+"/"+o.Kind()] {
			continue
		}
		severity := Error
		if !complete {
			severity = Warning // what it needs may be brought by what did not render
		}
		r.reporter("crd-order", c.ID)(severity, at, "step %q applies %s of %s, and no step before it nor a component that it requires brings that kind", s.Name, o, o.APIVersion())
	}
}

// available are the API versions that c may use, and whether everything that could
// bring more was rendered.
func (r *renderer) available(c *manifest.ComponentSpec) (have map[string]bool, complete bool) {
	have, complete = map[string]bool{}, true
	done := map[string]bool{}
	var visit func(c *manifest.ComponentSpec)
	visit = func(c *manifest.ComponentSpec) {
		if c == nil || done[c.ID] {
			return
		}
		done[c.ID] = true
		complete = complete && !r.partial[c.ID]
		for _, v := range r.brought[c.ID] {
			have[v] = true
		}
		for _, id := range c.Requires {
			visit(r.set.Specs[id])
		}
	}
	visit(c)
	return have, complete
}

// builtin tells the API groups of Kubernetes itself.
func builtin(group string) bool {
	switch group {
	case "", "apps", "batch", "autoscaling", "policy", "extensions", "networking.k8s.io", "rbac.authorization.k8s.io", "storage.k8s.io",
		"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
		"node.k8s.io", "scheduling.k8s.io", "certificates.k8s.io", "flowcontrol.apiserver.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "resource.k8s.io":
		return true
	}
	return false
}

// unused takes images, as "component: ref", that nothing rendered names.
func (r *renderer) unused(list []string) {
	for _, u := range list {
		id, ref, _ := strings.Cut(u, ": ")
		c := r.set.Specs[id]
		i := slices.IndexFunc(c.Images, func(img manifest.Image) bool { return img.Ref == ref })
		severity := Error
		if r.partial[id] {
			severity = Warning
		}
		r.reporter("explained", id)(severity, fmt.Sprintf("images[%d]", i), "image %q is listed, and nothing that renders names it: runtime: true and a note say who asks for it", ref)
	}
}
