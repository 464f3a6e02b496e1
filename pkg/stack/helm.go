package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// labelLength is how much of a digest fits into a label.
const labelLength = 40

// maxHistory bounds the revisions of a release that Helm keeps.
const maxHistory = 5

// helm is Helm's configuration for a namespace; what it asks of the cluster ends with ctx. It keeps releases as Helm's own
// programs do, so that these can be used on the cluster.
func (s *Stack) helm(ctx context.Context, namespace string) (*action.Configuration, error) {
	config := new(action.Configuration)
	err := config.Init(getter{s, namespace, ctx}, namespace, "secret", func(string, ...any) {})
	if err != nil {
		return nil, fmt.Errorf("opening Helm: %w", err)
	}
	return config, nil
}

// lastRelease is the newest revision of a step's release, nil when there is none.
func (s *Stack) lastRelease(config *action.Configuration, step *manifest.Step) (*release.Release, error) {
	last, err := config.Releases.Last(step.ReleaseName())
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading release %q: %w", step.ReleaseName(), err)
	}
	return last, nil
}

func (s *Stack) compareRelease(ctx context.Context, w *work) (Action, string, error) {
	config, err := s.helm(ctx, w.step.Namespace)
	if err != nil {
		return "", "", err
	}
	last, err := s.lastRelease(config, w.step)
	switch {
	case err != nil:
		return "", "", err
	case last == nil || last.Info.Status == release.StatusUninstalled:
		return ActionInstall, "it is not installed", nil
	case last.Info.Status != release.StatusDeployed:
		return ActionUpgrade, fmt.Sprintf("the last run left it %s", last.Info.Status), nil
	case last.Labels[labelDigest] == "":
		return ActionUpgrade, "somebody else installed it", nil
	case last.Labels[labelDigest] != w.digest[:labelLength]:
		return ActionUpgrade, "its chart, its values or the facts of the site changed", nil
	}
	// What is recorded, since charts that make random values render differently.
	objects, err := chart.ParseObjects("release "+last.Name, []byte(last.Manifest))
	if err != nil {
		return "", "", err
	}
	gone, err := s.missing(ctx, objects, w.step.Namespace)
	if err != nil || gone != "" {
		return ActionUpgrade, gone + " is gone", err
	}
	return ActionUnchanged, "", nil
}

// deployChart installs or upgrades a step's release, its CRDs first.
func (s *Stack) deployChart(ctx context.Context, w *work) error {
	if err := s.ensureNamespace(ctx, w.spec, w.step.Namespace); err != nil {
		return err
	}
	if err := s.applyDefinitions(ctx, w); err != nil {
		return err
	}
	config, err := s.helm(ctx, w.step.Namespace)
	if err != nil {
		return err
	}
	last, err := s.lastRelease(config, w.step)
	if err != nil {
		return err
	}
	if last != nil && last.Info.Status.IsPending() {
		// A run that was killed left it so, and Helm refuses to touch it. Nobody else is
		// at work: naru holds a lock for the whole run.
		last.SetStatus(release.StatusFailed, "taken up by naru after a run that did not end")
		if err := config.Releases.Update(last); err != nil {
			return fmt.Errorf("taking up release %q: %w", last.Name, err)
		}
	}
	ch, err := s.loadChart(ctx, w)
	if err != nil {
		return err
	}
	labels := map[string]string{labelDigest: w.digest[:labelLength], labelComponent: w.spec.ID, labelStep: w.step.Name}
	if last == nil || last.Info.Status == release.StatusUninstalled {
		return s.install(ctx, config, w, ch, labels, last != nil)
	}
	return s.upgrade(ctx, config, w, ch, labels)
}

// applyDefinitions applies the CRDs that come in the chart's crds folders.
func (s *Stack) applyDefinitions(ctx context.Context, w *work) error {
	var definitions []chart.Object
	for _, o := range w.rendered.Objects {
		if o.CRD && !strings.Contains(o.Source, "/templates/") {
			definitions = append(definitions, o)
		}
	}
	return s.applyAll(ctx, definitions, w.step.Namespace)
}

func (s *Stack) loadChart(ctx context.Context, w *work) (*chart.Chart, error) {
	r, err := s.opts.Content.Chart(ctx, w.spec.ID, w.step.Chart)
	if err != nil {
		return nil, fmt.Errorf("opening chart %q: %w", w.step.Chart, err)
	}
	defer func() { _ = r.Close() }()
	return chart.Load(r)
}

// left is the time that Helm gives hooks: a little less than the step has, so that Helm
// ends by itself. Where its context ends first it leaves work going on behind.
func left(ctx context.Context, step *manifest.Step) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return step.Deadline()
	}
	return max(time.Until(end)-time.Second, time.Second)
}

func (s *Stack) install(ctx context.Context, config *action.Configuration, w *work, ch *chart.Chart, labels map[string]string, again bool) error {
	a := action.NewInstall(config)
	a.ReleaseName, a.Namespace = w.step.ReleaseName(), w.step.Namespace
	a.Replace, a.TakeOwnership, a.SkipCRDs = again, true, true
	a.Timeout, a.Labels = left(ctx, w.step), labels
	if _, err := a.RunWithContext(ctx, ch.Chart, w.rendered.Values); err != nil {
		return fmt.Errorf("installing release %q: %w", a.ReleaseName, err)
	}
	return nil
}

func (s *Stack) upgrade(ctx context.Context, config *action.Configuration, w *work, ch *chart.Chart, labels map[string]string) error {
	a := action.NewUpgrade(config)
	a.Namespace, a.Timeout, a.Labels = w.step.Namespace, left(ctx, w.step), labels
	a.TakeOwnership, a.SkipCRDs, a.ResetValues, a.MaxHistory = true, true, true, maxHistory
	if _, err := a.RunWithContext(ctx, w.step.ReleaseName(), ch.Chart, w.rendered.Values); err != nil {
		return fmt.Errorf("upgrading release %q: %w", w.step.ReleaseName(), err)
	}
	return nil
}
