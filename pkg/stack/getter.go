package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// getter gives Helm the cluster of a Stack, as genericclioptions.RESTClientGetter.
type getter struct {
	stack     *Stack
	namespace string
	// ctx ends every request: Helm's storage makes them without one.
	ctx context.Context //nolint:containedctx // see above
}

// ToRESTConfig, ToDiscoveryClient, ToRESTMapper and ToRawKubeConfigLoader implement
// the interface.
func (g getter) ToRESTConfig() (*rest.Config, error) {
	c := rest.CopyConfig(g.stack.opts.Config)
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return endsWith{g.ctx, next} })
	return c, nil
}
func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.stack.discovery, nil
}
func (g getter) ToRESTMapper() (meta.RESTMapper, error) { return g.stack.mapper, nil }
func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}

// endsWith is a transport whose requests end with ctx as well as with their own.
type endsWith struct {
	ctx  context.Context //nolint:containedctx // it stands for the one that the request lacks
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (e endsWith) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	context.AfterFunc(e.ctx, func() { cancel(context.Cause(e.ctx)) })
	return e.next.RoundTrip(r.WithContext(ctx))
}

// capabilities are what the cluster serves, as templates ask for it: "group/version"
// and "group/version/Kind".
func (s *Stack) capabilities(kubernetes string) (chart.Capabilities, error) {
	version, err := s.discovery.ServerVersion()
	if err != nil {
		return chart.Capabilities{}, fmt.Errorf("asking the cluster for its version: %w", err)
	}
	caps := chart.Capabilities{Kubernetes: kubernetes}
	if version.GitVersion != "" {
		caps.Kubernetes = version.GitVersion
	}
	_, lists, err := s.discovery.ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return chart.Capabilities{}, fmt.Errorf("asking the cluster what it serves: %w", err)
	}
	for _, list := range lists {
		caps.APIVersions = append(caps.APIVersions, list.GroupVersion)
		for _, r := range list.APIResources {
			caps.APIVersions = append(caps.APIVersions, list.GroupVersion+"/"+r.Kind)
		}
	}
	slices.Sort(caps.APIVersions)
	caps.APIVersions = slices.Compact(caps.APIVersions)
	return caps, nil
}

// hashChart adds what identifies the packaged chart to h.
func (s *Stack) hashChart(ctx context.Context, c *manifest.ComponentSpec, step *manifest.Step, h io.Writer) error {
	if d, ok := s.opts.Content.(interface {
		ChartDigest(component, name string) string
	}); ok {
		if digest := d.ChartDigest(c.ID, step.Chart); digest != "" {
			return json.NewEncoder(h).Encode(digest)
		}
	}
	r, err := s.opts.Content.Chart(ctx, c.ID, step.Chart)
	if err != nil {
		return fmt.Errorf("opening chart %q: %w", step.Chart, err)
	}
	defer func() { _ = r.Close() }()
	_, err = io.Copy(h, r)
	return err
}
