package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/stack"
	"naru/pkg/stack/chart"
)

// harborID is the component that is the site's registry.
const harborID = "harbor"

// networkPhase deploys the pod network: the boot-critical components that have
// steps. It does not begin beside the joins: on a node whose kube-proxy has just
// started, a network that asks for the API at its service address waits half a minute
// for an answer that was lost, and the node is Ready meanwhile.
//
// INPUTS: an API server; charts and manifests of the bundles. OUTPUTS: objects of
// the cluster, and naru's record of them there. Rerunning is safe: each step is
// compared with what the cluster has and left alone where nothing differs; a step
// that was cut off while it waited is waited for again.
func networkPhase() phase.Phase[*Cluster] {
	return stackPhase("network", "deploy the pod network", (*Cluster).networkComponents)
}

// storagePhase deploys what Harbor requires, beside the network.
//
// INPUTS, OUTPUTS, rerunning: as the network phase.
func storagePhase() phase.Phase[*Cluster] {
	return stackPhase("storage", "deploy storage", (*Cluster).storageComponents)
}

// componentsPhase deploys all other components, each after what it requires.
//
// INPUTS, OUTPUTS, rerunning: as the network phase.
func componentsPhase() phase.Phase[*Cluster] {
	return stackPhase("stack", "deploy the components", func(c *Cluster) []*manifest.ComponentSpec {
		before := slices.Concat(c.networkComponents(), c.storageComponents())
		return slices.DeleteFunc(withSteps(c.Components), func(s *manifest.ComponentSpec) bool {
			return s.ID == harborID || slices.Contains(before, s)
		})
	})
}

func withSteps(list []*manifest.ComponentSpec) []*manifest.ComponentSpec {
	return slices.DeleteFunc(slices.Clone(list), func(s *manifest.ComponentSpec) bool { return len(s.Steps) == 0 })
}

func (c *Cluster) networkComponents() []*manifest.ComponentSpec {
	return slices.DeleteFunc(withSteps(c.Components), func(s *manifest.ComponentSpec) bool { return !s.BootCritical || s.ID == harborID })
}

// storageComponents are those that Harbor requires, and what makes the site's storage
// class, with all that these require; without those of the network.
func (c *Cluster) storageComponents() []*manifest.ComponentSpec {
	need := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		s := c.Component(id)
		if s == nil || need[id] {
			return
		}
		need[id] = true
		for _, r := range s.Requires {
			visit(r)
		}
	}
	if c.ownHarbor() != nil {
		visit(harborID)
		for _, s := range c.Components {
			if slices.Contains(s.StorageClasses, c.Site.Storage.Class) {
				visit(s.ID)
			}
		}
	}
	network := c.networkComponents()
	return slices.DeleteFunc(withSteps(c.Components), func(s *manifest.ComponentSpec) bool {
		return !need[s.ID] || s.ID == harborID || slices.Contains(network, s)
	})
}

func stackPhase(name, title string, choose func(*Cluster) []*manifest.ComponentSpec) phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: name, Title: title, Serial: true,
		Skip: func(c *Cluster) string {
			if len(choose(c)) == 0 {
				return "no component of the bundle belongs here"
			}
			return ""
		},
		Tasks: func(c *Cluster) []phase.Task {
			var tasks []phase.Task
			for _, s := range choose(c) {
				tasks = append(tasks, c.deployTask(s))
			}
			return tasks
		}}
}

// probeWait is how long a component that is as it should be is given to be ready, after
// a reboot for example, before it counts as one that is not.
const probeWait = 20 * time.Second

// comesReady looks until what a plan waits for is ready, and changes nothing.
func comesReady(ctx context.Context, st *stack.Stack, plan *stack.Plan) (ready bool, err error) {
	wctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	err = poll(wctx, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		ready, _, err = st.Ready(ctx, plan)
		return ready, err
	})
	if ctx.Err() == nil && wctx.Err() != nil {
		return false, nil
	}
	return ready && err == nil, err
}

// deployTask deploys one component. Looking whether it holds includes what it waits
// for: a component that was applied and never became ready does not hold.
func (c *Cluster) deployTask(s *manifest.ComponentSpec) phase.Task {
	limit := time.Minute
	for i := range s.Steps {
		limit += s.Steps[i].Deadline()
	}
	return phase.Task{What: fmt.Sprintf("deploy %s %s", s.ID, s.Version), Interruptible: true, Deadline: limit,
		Done: func(ctx context.Context) (bool, error) {
			st, err := c.stackOf(ctx, s)
			if err != nil {
				return false, err
			}
			plan, err := st.Plan(ctx)
			if err != nil || plan.Changes() > 0 {
				return false, err
			}
			return comesReady(ctx, st, plan)
		},
		Do: func(ctx context.Context) error {
			st, err := c.stackOf(ctx, s)
			if err != nil {
				return err
			}
			plan, err := st.Plan(ctx)
			if err != nil {
				return err
			}
			_, err = st.Execute(ctx, plan)
			return err
		}}
}

// stackOf is the stack of one component on this cluster.
func (c *Cluster) stackOf(ctx context.Context, s *manifest.ComponentSpec) (*stack.Stack, error) {
	config, err := c.restConfig(ctx)
	if err != nil {
		return nil, err
	}
	return stack.New(stack.Options{Config: config, Content: stackContent{c}, Components: []*manifest.ComponentSpec{s}, Facts: c.factsFor, Poll: 500 * time.Millisecond,
		OnEvent: func(e stack.Event) {
			if e.Phase == stack.PhaseWaiting || e.Phase == stack.PhaseApplied {
				c.Progress.Note(line("", fmt.Sprintf("%s/%s: %s %s", e.Component, e.Step, e.Phase, e.Text)))
			}
		}})
}

// factsFor are the site's facts as a component sees them.
func (c *Cluster) factsFor(s *manifest.ComponentSpec, secrets map[string]string) *manifest.Facts {
	return c.Facts().For(c.Site, s.ID, secrets)
}

// restConfig reaches the API server of the first control plane as its
// administrator, through the host's own connection.
func (c *Cluster) restConfig(ctx context.Context) (*rest.Config, error) {
	h := c.keeper()
	f, ok := h.Runner.(bootstrap.Forwarder)
	if !ok {
		return nil, errors.New("reaching the API server: the host's connection cannot carry others")
	}
	data, err := h.ReadFile(ctx, bootstrap.KubeConfig)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, fmt.Errorf("reading the administrator's access: %w", err)
	}
	config.Host = "https://" + net.JoinHostPort(h.Address, strconv.Itoa(manifest.APIPort))
	config.Dial = f.Dial
	config.UserAgent = "naru-install"
	return config, nil
}

// stackContent is what the bundles carry, each component from the bundle that it
// comes from.
type stackContent struct{ c *Cluster }

func (s stackContent) of(component string) (*stack.BundleContent, error) {
	b := s.c.Set.Bundle(component)
	if b == nil {
		return nil, fmt.Errorf("looking for component %q: %w", component, fs.ErrNotExist)
	}
	platform := "linux/amd64"
	if f := s.c.keeper().Facts; f != nil {
		platform = "linux/" + f.Arch
	}
	return stack.NewContent(b, b.Index(), s.c.Set.Lock, platform), nil
}

// Chart implements chart.Content.
func (s stackContent) Chart(ctx context.Context, component, name string) (io.ReadCloser, error) {
	b, err := s.of(component)
	if err != nil {
		return nil, err
	}
	return b.Chart(ctx, component, name)
}

// File implements chart.Content.
func (s stackContent) File(ctx context.Context, component, name string) ([]byte, error) {
	b, err := s.of(component)
	if err != nil {
		return nil, err
	}
	return b.File(ctx, component, name)
}

// ChartDigest is the digest of a packaged chart, "" where there is none.
func (s stackContent) ChartDigest(component, name string) string {
	b, err := s.of(component)
	if err != nil {
		return ""
	}
	return b.ChartDigest(component, name)
}

var _ chart.Content = stackContent{}
