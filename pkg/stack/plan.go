package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// Action is what a step will do.
type Action string

// Actions of steps. Unchanged steps are only waited for; a step that is left out does
// not apply to the site.
const (
	ActionInstall   Action = "install"
	ActionUpgrade   Action = "upgrade"
	ActionApply     Action = "apply"
	ActionUnchanged Action = "unchanged"
	ActionLeftOut   Action = "left out"
)

// Plan is what Execute will do, in order.
type Plan struct {
	Steps []PlannedStep `json:"steps"`
}

// PlannedStep is one step of a component.
type PlannedStep struct {
	Component string `json:"component"`
	Step      string `json:"step"`
	// Chart is the name and version of a chart step, Release its Helm release.
	Chart     string `json:"chart,omitempty"`
	Release   string `json:"release,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Action    Action `json:"action"`
	// Why says what differs.
	Why string `json:"why,omitempty"`

	spec *manifest.ComponentSpec
	step *manifest.Step
}

// Changes counts the steps that will change the cluster.
func (p *Plan) Changes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Action != ActionUnchanged && s.Action != ActionLeftOut {
			n++
		}
	}
	return n
}

// Plan reads the cluster and says what Execute would do. What a step brings, such as
// CRDs, is not there yet for the ones after it; Execute compares again when it comes
// to a step.
func (s *Stack) Plan(ctx context.Context) (*Plan, error) {
	p := &Plan{}
	for _, c := range s.opts.Components {
		secrets, complete, err := s.readSecrets(ctx, c)
		if err != nil {
			return nil, err
		}
		for i := range c.Steps {
			planned, err := s.planStep(ctx, c, &c.Steps[i], secrets, complete)
			if err != nil {
				return nil, &StepError{Component: c.ID, Step: c.Steps[i].Name, Err: err}
			}
			p.Steps = append(p.Steps, *planned)
		}
	}
	return p, nil
}

func (s *Stack) planStep(ctx context.Context, c *manifest.ComponentSpec, step *manifest.Step, secrets map[string]string, complete bool) (*PlannedStep, error) {
	p := &PlannedStep{Component: c.ID, Step: step.Name, Namespace: step.Namespace, spec: c, step: step}
	if step.Chart != "" {
		p.Release = step.ReleaseName()
		if ch := c.Chart(step.Chart); ch != nil {
			p.Chart = ch.Name + "-" + ch.Version
		}
	}
	if !complete {
		secrets = sampleSecrets(c) // they are made by Execute
	}
	facts := s.opts.Facts(c, secrets)
	holds, err := facts.Applies(step)
	if err != nil {
		return nil, err
	}
	if !holds {
		p.Action, p.Why = ActionLeftOut, "its condition does not hold for this site"
		return p, nil
	}
	work, err := s.render(ctx, c, step, facts)
	if err != nil {
		return nil, err
	}
	p.Action, p.Why, err = s.compare(ctx, work)
	if err == nil && p.Action == ActionUnchanged && !complete {
		p.Action, p.Why = ActionUpgrade, "its secrets are to be made"
	}
	return p, err
}

// work is a rendered step with the digest of everything that it depends on.
type work struct {
	spec     *manifest.ComponentSpec
	step     *manifest.Step
	rendered *chart.Rendered
	// digest of chart, values and manifests, hex.
	digest string
}

// render fills in a step and hashes what it is made from. Objects are not hashed for
// charts: some make random values each time they are rendered.
func (s *Stack) render(ctx context.Context, c *manifest.ComponentSpec, step *manifest.Step, facts *manifest.Facts) (*work, error) {
	caps, err := s.capabilities(facts.Kubernetes)
	if err != nil {
		return nil, err
	}
	rendered, err := chart.RenderStep(ctx, s.opts.Content, c, step, facts, caps)
	if err != nil {
		return nil, err
	}
	w := &work{spec: c, step: step, rendered: rendered}
	h := sha256.New()
	enc := json.NewEncoder(h)
	if step.Chart != "" {
		if err := s.hashChart(ctx, c, step, h); err != nil {
			return nil, err
		}
		err = enc.Encode(rendered.Values)
	} else {
		for _, o := range rendered.Objects {
			if err = enc.Encode(o.Content); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = enc.Encode([]any{step.Namespace, step.NamespaceLabels, step.ReleaseName()})
	}
	if err != nil {
		return nil, fmt.Errorf("hashing the step: %w", err)
	}
	w.digest = hex.EncodeToString(h.Sum(nil))
	return w, nil
}

// compare says what has to be done for a step, and why.
func (s *Stack) compare(ctx context.Context, w *work) (Action, string, error) {
	if w.step.Chart != "" {
		return s.compareRelease(ctx, w)
	}
	return s.compareInventory(ctx, w)
}
