package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// SealedOptions say what a cluster is held against.
type SealedOptions struct {
	Config *rest.Config
	// Locks of the bundles that the depot keeps.
	Locks []*manifest.Lock
	// Components that were deployed: their allowances count.
	Components []*manifest.ComponentSpec
	// Facts of the site as a component sees it, as for a Stack.
	Facts func(c *manifest.ComponentSpec, secrets map[string]string) *manifest.Facts
	// Hosts are names of the site beside those that the facts give; one with a leading
	// dot stands for all names below it.
	Hosts []string
}

// FindingKind says what a finding is of.
type FindingKind string

// Kinds of findings: an image that no bundle carries, an address outside the site, an
// API that could not be looked at.
const (
	FindingImage  FindingKind = "image"
	FindingURL    FindingKind = "url"
	FindingUnseen FindingKind = "unseen"
)

// Finding is something that leads out of the site.
type Finding struct {
	Kind  FindingKind `json:"kind"`
	Value string      `json:"value"`
	Why   string      `json:"why"`
	// Where are places of it, "Kind namespace/name, field"; the first five.
	Where []string `json:"where"`
	// Places counts all of them.
	Places int `json:"places"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s %q in %s: %s", f.Kind, f.Value, strings.Join(f.Where, "; "), f.Why)
}

// SealedReport is what Sealed saw.
type SealedReport struct {
	// Objects, Images and URLs count what was looked at.
	Objects int `json:"objects"`
	Images  int `json:"images"`
	URLs    int `json:"urls"`
	// Findings sorted by kind and value; none means that the cluster is sealed.
	Findings []Finding `json:"findings"`
}

// maxPlaces bounds the places that a finding names.
const maxPlaces = 5

// Sealed looks at every object of a cluster. Every image in a pod, in the template of
// one, in a custom resource or a ConfigMap has to be in a lock, by reference or by
// digest. Every other address in ConfigMaps, custom resources and the values of
// charts has to be one of the site, of the cluster, or on the list of a component.
// Secrets are not looked into.
func Sealed(ctx context.Context, o SealedOptions) (*SealedReport, error) {
	s, err := newSealer(o)
	if err != nil {
		return nil, fmt.Errorf("checking what leads out of the cluster: %w", err)
	}
	if err := errors.Join(s.cluster(ctx), s.values()); err != nil {
		return nil, fmt.Errorf("checking what leads out of the cluster: %w", err)
	}
	out := s.report
	for _, f := range s.found {
		out.Findings = append(out.Findings, *f)
	}
	slices.SortFunc(out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	return &out, nil
}

// sealer is one look at a cluster.
type sealer struct {
	SealedOptions
	discovery discovery.DiscoveryInterface
	dynamic   dynamic.Interface
	// carried are the images of the locks, digests all that they pin.
	carried []manifest.Reference
	digests map[digest.Digest]bool
	facts   *manifest.Facts
	report  SealedReport
	found   map[string]*Finding
}

func newSealer(o SealedOptions) (*sealer, error) {
	config := rest.CopyConfig(o.Config)
	if config.QPS == 0 {
		config.QPS, config.Burst = 50, 100
	}
	s := &sealer{SealedOptions: o, digests: map[digest.Digest]bool{}, found: map[string]*Finding{}}
	var err error
	if s.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return nil, err
	}
	if s.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	s.facts = o.Facts(&manifest.ComponentSpec{}, nil)
	for _, lock := range o.Locks {
		for _, img := range lock.Images {
			if ref, ok := chart.Normalize(img.Ref); ok {
				s.carried = append(s.carried, ref)
			}
			s.digests[img.Digest] = true
			for _, p := range img.Platforms {
				s.digests[p.Digest] = true
			}
		}
	}
	return s, nil
}

// unlooked are resources whose objects are made from others, or speak of the past.
var unlooked = []string{
	"events", "endpoints", "endpointslices", "leases", "controllerrevisions", "secrets", "customresourcedefinitions",
	"nodes", "componentstatuses", "podtemplates", "csinodes", "volumeattachments", "certificatesigningrequests", "apiservices", "flowschemas", "prioritylevelconfigurations",
}

// passedOver tells Kubernetes' own resources that are not looked at. A custom resource
// is looked at whatever it is called.
func passedOver(group, resource string) bool {
	return group == "metrics.k8s.io" || !custom(group) && slices.Contains(unlooked, resource)
}

// cluster looks at every object that can be listed.
func (s *sealer) cluster(ctx context.Context) error {
	lists, err := s.discovery.ServerPreferredResources()
	if failed, ok := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err); ok {
		for gv, why := range failed.Groups {
			s.note(FindingUnseen, gv.String(), "the cluster does not say what it holds: "+why.Error(), "the API "+gv.String())
		}
	} else if err != nil {
		return err
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "get") || strings.Contains(r.Name, "/") || passedOver(gv.Group, r.Name) {
				continue
			}
			if err := s.resources(ctx, gv.WithResource(r.Name), custom(gv.Group)); err != nil {
				return err
			}
		}
	}
	return nil
}

// custom tells API groups that are not Kubernetes' own.
func custom(group string) bool {
	return strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io") || strings.HasPrefix(group, "gateway.")
}

func (s *sealer) resources(ctx context.Context, gvr schema.GroupVersionResource, custom bool) error {
	next := ""
	for {
		list, err := s.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 250, Continue: next})
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			return nil // it went away since it was asked for
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", gvr.GroupResource(), err)
		}
		for i := range list.Items {
			s.object(&list.Items[i], custom)
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

func (s *sealer) object(u *unstructured.Unstructured, custom bool) {
	s.report.Objects++
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	o := chart.Object{Content: u.Object}
	hits, err := chart.Images("", []chart.Object{o})
	if bad, ok := errors.AsType[*chart.Malformed](err); ok {
		s.note(FindingImage, bad.Text, "it is no image reference", o.String()+", "+bad.Field)
	}
	for _, h := range hits {
		s.image(h)
	}
	if custom || u.GetKind() == "ConfigMap" {
		s.urls(o.String(), "", u.Object)
	}
}

// image holds one that was found against the locks.
func (s *sealer) image(h chart.Hit) {
	s.report.Images++
	ref := h.Ref
	if host := strings.ToLower(s.facts.Harbor.Registry); host != "" && ref.Host == host {
		project, _, _ := strings.Cut(ref.Repository, "/")
		if !strings.Contains(project, ".") {
			return // content of the site's own, or an artifact of naru's
		}
		ref, _ = chart.Normalize(strings.TrimPrefix(ref.String(), ref.Host+"/"))
	}
	if s.carries(ref) || !h.ByPlace && s.excepted(h) {
		return
	}
	why := "no bundle carries it"
	if slices.ContainsFunc(s.carried, func(c manifest.Reference) bool { return c.Name() == ref.Name() }) {
		why = "the bundles carry another version of it"
	}
	s.note(FindingImage, ref.String(), why, h.Object+", "+h.Field)
}

func (s *sealer) carries(ref manifest.Reference) bool {
	if ref.Digest != "" {
		return s.digests[ref.Digest]
	}
	return slices.ContainsFunc(s.carried, func(c manifest.Reference) bool { return chart.Listed(ref, c) })
}

func (s *sealer) excepted(h chart.Hit) bool {
	return slices.ContainsFunc(s.Components, func(c *manifest.ComponentSpec) bool {
		return slices.ContainsFunc(c.NotImages, func(n manifest.NotImage) bool {
			return n.Ref == h.Text || n.Ref == h.Ref.String() || n.Ref == h.Ref.Name()
		})
	})
}

// note adds a place to a finding.
func (s *sealer) note(kind FindingKind, value, why, where string) {
	key := string(kind) + "\x00" + value
	f := s.found[key]
	if f == nil {
		f = &Finding{Kind: kind, Value: value, Why: why}
		s.found[key] = f
	}
	f.Places++
	if len(f.Where) < maxPlaces && !slices.Contains(f.Where, where) {
		f.Where = append(f.Where, where)
	}
}
