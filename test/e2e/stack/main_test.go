//go:build e2e

package stack

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"testing"
	"time"

	"naru/manifest"
	"naru/pkg/stack"
	"naru/test/lab/apiserver"
	"naru/test/lab/content"
	"naru/test/lab/helmchart"
)

// server is shared by the tests; each has namespaces of its own.
var server *apiserver.Server

func TestMain(m *testing.M) {
	cache := flag.String("cache", "", "folder for the lab's programs")
	flag.Parse()
	os.Exit(run(m, *cache))
}

func run(m *testing.M, cache string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	start := time.Now()
	programs, err := content.Programs(ctx, content.Options{CacheDir: cache, OnStep: func(s string) { fmt.Println("   " + s) }})
	if err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp("", "naru-apiserver-")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if server, err = apiserver.Start(ctx, dir, programs); err != nil {
		return fail(err)
	}
	defer server.Stop()
	fmt.Printf("   API server ready after %s\n", time.Since(start).Round(100*time.Millisecond))
	go func() { _ = server.Play(ctx) }()
	return m.Run()
}

// carried is content in memory.
type carried struct {
	charts map[string][]byte
	files  map[string]string
}

func (c *carried) Chart(_ context.Context, _, name string) (io.ReadCloser, error) {
	data, ok := c.charts[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (c *carried) File(_ context.Context, _, name string) ([]byte, error) {
	data, ok := c.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(data), nil
}

// site is a component with its content and what the site says.
type site struct {
	t       *testing.T
	content *carried
	spec    *manifest.ComponentSpec
	values  map[string]any
	events  []string
}

func newSite(t *testing.T, spec *manifest.ComponentSpec) *site {
	return &site{t: t, spec: spec, content: &carried{charts: map[string][]byte{}, files: map[string]string{}}, values: map[string]any{}}
}

// chart packages a chart of files into the content.
func (s *site) chart(name, version string, files map[string]string) {
	s.t.Helper()
	all := map[string]string{"Chart.yaml": "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n"}
	for k, v := range files {
		all[k] = v
	}
	c, err := helmchart.Package(all)
	if err != nil {
		s.t.Fatal(err)
	}
	s.content.charts[name] = c.Package
}

func (s *site) stack() *stack.Stack {
	s.t.Helper()
	s.events = nil
	st, err := stack.New(stack.Options{
		Config: server.Config, Content: s.content, Components: []*manifest.ComponentSpec{s.spec}, Poll: 100 * time.Millisecond,
		Facts: func(c *manifest.ComponentSpec, secrets map[string]string) *manifest.Facts {
			f := manifest.SampleFacts("e2e", "1.32.0", c)
			f.Secrets, f.Values = secrets, s.values
			return f
		},
		OnEvent: func(e stack.Event) { s.events = append(s.events, fmt.Sprintf("%s %s: %s", e.Step, e.Phase, e.Text)) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// plan says what would be done: "step action why".
func (s *site) plan() []string {
	s.t.Helper()
	p, err := s.stack().Plan(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, step := range p.Steps {
		out = append(out, step.Step+" "+string(step.Action)+" "+step.Why)
	}
	return out
}

// deploy plans and executes.
func (s *site) deploy() (*stack.Result, error) {
	s.t.Helper()
	st := s.stack()
	p, err := st.Plan(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return st.Execute(s.t.Context(), p)
}

func (s *site) mustDeploy() *stack.Result {
	s.t.Helper()
	r, err := s.deploy()
	if err != nil {
		s.t.Fatalf("%v\n%v", err, s.events)
	}
	return r
}
