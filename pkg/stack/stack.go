package stack

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// Names of naru in the cluster.
const (
	// FieldManager is the manager of everything applied.
	FieldManager = "naru"
	// Namespace holds the records and secrets of naru.
	Namespace = "naru-system"
)

// Options say what is deployed, and where.
type Options struct {
	// Config reaches the cluster with the rights of its administrator; required.
	Config *rest.Config
	// Content gives the charts and files of the components; see NewContent.
	Content chart.Content
	// Components to deploy, in install order.
	Components []*manifest.ComponentSpec
	// Facts of the site as the component c sees it, with the secrets given.
	Facts func(c *manifest.ComponentSpec, secrets map[string]string) *manifest.Facts
	// OnEvent, when set, is told what goes on, from one goroutine.
	OnEvent func(Event)
	// Poll is how often waits look again; 2 s if 0.
	Poll time.Duration
}

// Event is something that goes on during Execute.
type Event struct {
	Component, Step string
	// Phase is one of the Phase values.
	Phase Phase
	// Text says more, in a line.
	Text string
}

// Phase is how far a step is.
type Phase string

// Phases of a step. Waiting comes again whenever what is waited for changes.
const (
	PhaseStarted   Phase = "started"
	PhaseApplied   Phase = "applied"
	PhaseUnchanged Phase = "unchanged"
	PhaseWaiting   Phase = "waiting"
	PhaseReady     Phase = "ready"
)

// Stack deploys components. It is for one goroutine.
type Stack struct {
	opts    Options
	client  kubernetes.Interface
	dynamic dynamic.Interface
	// discovery remembers what the cluster serves until it is told to look again.
	discovery discovery.CachedDiscoveryInterface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
}

// New is a Stack on a cluster. It sends no request.
func New(opts Options) (*Stack, error) {
	if opts.Config == nil || opts.Content == nil || opts.Facts == nil {
		return nil, errors.New("opening the stack: no cluster, no content or no facts given")
	}
	if opts.Poll <= 0 {
		opts.Poll = 2 * time.Second
	}
	if opts.OnEvent == nil {
		opts.OnEvent = func(Event) {}
	}
	config := rest.CopyConfig(opts.Config)
	if config.QPS == 0 {
		config.QPS, config.Burst = 50, 100 // one administrator, many small requests
	}
	opts.Config = config
	s := &Stack{opts: opts}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("opening the stack: %w", err)
	}
	s.client = client
	if s.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("opening the stack: %w", err)
	}
	s.discovery = memory.NewMemCacheClient(client.Discovery())
	s.mapper = restmapper.NewDeferredDiscoveryRESTMapper(s.discovery)
	return s, nil
}

// lookAgain forgets what the cluster serves: CRDs have come.
func (s *Stack) lookAgain() {
	s.discovery.Invalidate()
	s.mapper.Reset()
}

func (s *Stack) event(c *manifest.ComponentSpec, step *manifest.Step, phase Phase, format string, args ...any) {
	s.opts.OnEvent(Event{Component: c.ID, Step: step.Name, Phase: phase, Text: fmt.Sprintf(format, args...)})
}
