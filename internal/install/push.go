package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/pkg/mirror/push"
	"naru/pkg/mirror/remote"
)

// PushOptions are those of Push.
type PushOptions struct {
	Intake intake.Options
	// AllowUnscanned takes bundles that were built without a scan.
	AllowUnscanned bool
	// To is the registry, host[:port][/prefix].
	To string
	// PlainHTTP talks to a registry on a loopback address without TLS.
	PlainHTTP bool
	Remote    remote.Options
	// Jobs bounds concurrent uploads; 0 is the default of package push.
	Jobs int
	// Only keeps the artifacts of these references, or that begin with one up to a
	// "/", ":" or "@"; all if empty.
	Only []string
	// DryRun returns the plan alone.
	DryRun   bool
	Progress progress.Observer
}

// PushResult is what a push did and what the registry holds after it.
type PushResult struct {
	Plan   *push.Plan   `json:"-"`
	Pushed *push.Result `json:"push,omitempty"`
	Check  *push.Report `json:"check,omitempty"`
}

// ErrNotLoopback is returned when plain HTTP is asked for with a registry that is
// not on this host.
var ErrNotLoopback = errors.New("plain HTTP is spoken to loopback addresses only")

// ErrNothingChosen is returned when no artifact of the bundles is to be pushed.
var ErrNothingChosen = errors.New("choosing what to push: no artifact of the bundles is meant")

// DifferenceError says that the registry does not hold what was pushed.
type DifferenceError struct{ Findings []push.Finding }

func (e *DifferenceError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		got := "nothing"
		if f.Got != "" {
			got = f.Got.String()
		}
		lines[i] = fmt.Sprintf("comparing with the registry: %s %s of %q should be %s, is %s", f.Kind, f.Repository, f.Ref, f.Want, got)
	}
	return strings.Join(lines, "\n")
}

// Push brings bundles into a registry and compares every digest with what that then
// holds. It is safe to run again at any time: what the registry has is not sent twice.
func Push(ctx context.Context, o PushOptions) (*PushResult, error) {
	if err := checkPlain(o.To, o.PlainHTTP); err != nil {
		return nil, err
	}
	bundles, err := intake.OpenAll(ctx, o.Intake)
	if err != nil {
		return nil, err
	}
	defer intake.CloseAll(bundles)
	if err := intake.CheckAllScanned(bundles, o.AllowUnscanned); err != nil {
		return nil, err
	}
	signed, err := intake.WithAllSignatures(ctx, bundles)
	if err != nil {
		return nil, err
	}
	contents := make([]push.Content, len(bundles))
	for i, b := range signed {
		contents[i] = b
	}
	client, err := remote.New(o.Remote)
	if err != nil {
		return nil, err
	}
	plan, err := push.NewPlan(ctx, contents, push.Target{Client: client, Base: o.To, PlainHTTP: o.PlainHTTP}, o.options(bundles))
	if err != nil {
		return nil, err
	}
	if len(plan.Artifacts) == 0 {
		return nil, ErrNothingChosen
	}
	result := &PushResult{Plan: plan}
	if o.DryRun {
		return result, nil
	}
	o.Progress.Start("push", plan.Bytes)
	if result.Pushed, result.Check, err = plan.Push(ctx, nil); err != nil {
		return result, err
	}
	if len(result.Check.Findings) > 0 {
		return result, &DifferenceError{Findings: result.Check.Findings}
	}
	return result, nil
}

// options wires progress, and who is trusted, to the push.
func (o PushOptions) options(bundles []*intake.Bundle) push.Options {
	opts := push.Options{
		SameSigner: intake.SameSigner(bundles),
		Jobs:       o.Jobs,
		OnBytes:    o.Progress.Add,
		OnBlob:     countOnce(o.Progress.Add),
		OnRetry: func(e push.RetryEvent) {
			o.Progress.Note(fmt.Sprintf("%s %s: attempt %d: %v", e.Op, e.Repository, e.Attempt, e.Err))
		},
	}
	if len(o.Only) > 0 {
		opts.Filter = only(o.Only)
	}
	return opts
}

// countOnce counts the blobs that the registry had, or mounted, as done, each
// digest once.
func countOnce(add func(int64)) func(push.BlobEvent) {
	var mu sync.Mutex
	seen := map[digest.Digest]bool{}
	return func(e push.BlobEvent) {
		mu.Lock()
		defer mu.Unlock()
		if d := e.Descriptor; !seen[d.Digest] {
			seen[d.Digest] = true
			if e.Outcome == push.OutcomePresent {
				add(d.Size)
			}
		}
	}
}

// checkPlain refuses plain HTTP to anything but this host.
func checkPlain(to string, plain bool) error {
	if !plain {
		return nil
	}
	host, _, _ := strings.Cut(to, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if addr, err := netip.ParseAddr(host); host == "localhost" || err == nil && addr.IsLoopback() {
		return nil
	}
	return fmt.Errorf("pushing to %q: %w", to, ErrNotLoopback)
}
