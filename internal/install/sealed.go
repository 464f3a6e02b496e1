package install

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/stack"
)

// SealedResult is what Sealed saw.
type SealedResult struct {
	*stack.SealedReport
	// Pulls are the hosts on which a pull of something that is not carried was tried.
	Pulls []SealedPull `json:"pulls"`
}

// SealedPull is the try to pull an image that nobody carries.
type SealedPull struct {
	Host string `json:"host"`
	// Refused is true when it failed, as it should; Seconds how long that took.
	Refused bool    `json:"refused"`
	Seconds float64 `json:"seconds"`
}

// SealedError says that something leads out of the site.
type SealedError struct{ Lines []string }

func (e *SealedError) Error() string { return strings.Join(e.Lines, "\n") }

// maxRefusal bounds, in seconds, how long a refused pull may take: more means that a
// node waited for something outside.
const maxRefusal = 5.0

// Sealed checks that nothing of a running cluster leads out of the site: images,
// addresses, and that a node's pull of something not carried fails at once. What
// does is a *SealedError, with the result.
func Sealed(ctx context.Context, o ApplyOptions) (*SealedResult, error) {
	c, closeAll, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	o.Progress.Start("sealed", 0)
	if err := c.Gather(ctx); err != nil {
		return nil, err
	}
	return c.sealed(ctx)
}

func (c *Cluster) sealed(ctx context.Context) (*SealedResult, error) {
	if _, err := c.Authority(ctx); err != nil {
		return nil, err
	}
	config, err := c.restConfig(ctx)
	if err != nil {
		return nil, err
	}
	hosts := []string{"." + c.Site.Domain, c.Site.APIEndpoint().Host}
	for _, h := range c.Site.Hosts {
		hosts = append(hosts, h.Address, h.Name)
	}
	report, err := stack.Sealed(ctx, stack.SealedOptions{Config: config, Locks: []*manifest.Lock{c.Set.Lock}, Components: c.Components, Facts: c.factsFor, Hosts: hosts})
	if err != nil {
		return nil, err
	}
	r := &SealedResult{SealedReport: report, Pulls: make([]SealedPull, 0)}
	pulls := make([]*SealedPull, len(c.Hosts))
	err = c.onEach(ctx, func(ctx context.Context, i int, h *bootstrap.Host) error {
		if !h.Node() {
			return nil
		}
		var err error
		pulls[i], err = tryPull(ctx, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, f := range report.Findings {
		lines = append(lines, "sealed: "+f.String())
	}
	for _, p := range pulls {
		if p == nil {
			continue
		}
		r.Pulls = append(r.Pulls, *p)
		if !p.Refused || p.Seconds > maxRefusal {
			lines = append(lines, fmt.Sprintf("sealed: %s: a pull of an image that is not carried: refused %v, after %.1f s", p.Host, p.Refused, p.Seconds))
		}
	}
	if len(lines) > 0 {
		return r, &SealedError{Lines: lines}
	}
	return r, nil
}

// uncarried is an image that no bundle carries, on a host that no one has.
const uncarried = "registry.naru.invalid/not/carried:1"

// tryPull lets a node pull what is not carried. A node without a containerd that
// answers is an error: there every pull fails, which says nothing.
func tryPull(ctx context.Context, h *bootstrap.Host) (*SealedPull, error) {
	out, err := h.Script(ctx, `timeout 20 /usr/local/bin/ctr -n k8s.io version >/dev/null
a=$(date +%s%N); r=no
timeout 60 /usr/local/bin/ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d "$1" >/dev/null 2>&1 || r=yes
b=$(date +%s%N); echo "$r $(( (b - a) / 1000000 ))"`, uncarried)
	if err != nil {
		return nil, err
	}
	p := &SealedPull{Host: h.Name}
	var refused string
	var ms int64
	if _, err := fmt.Sscan(out, &refused, &ms); err != nil {
		return nil, fmt.Errorf("%s: trying a pull: %w", h.Name, err)
	}
	p.Refused, p.Seconds = refused == "yes", float64(ms)/1000
	return p, nil
}

// sealedPhase looks for what leads out of the site.
//
// INPUTS: the cluster as it is; locks of the bundles. OUTPUTS: what it found, said
// and kept in the report: the site's own workloads do not stop a run, install sealed
// is what fails. Rerunning is safe: it only looks, but for a pull that has to fail.
func sealedPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "sealed", Title: "look for what leads out", Tasks: func(c *Cluster) []phase.Task {
		return []phase.Task{{What: "look for what leads out", Quiet: true, Interruptible: true, Do: func(ctx context.Context) error {
			_, err := c.sealed(ctx)
			var open *SealedError
			if !errors.As(err, &open) {
				return err
			}
			c.mu.Lock()
			c.leaks = open.Lines
			c.mu.Unlock()
			for _, l := range open.Lines {
				c.Progress.Note("warning: " + l)
			}
			return nil
		}}}
	}}
}
