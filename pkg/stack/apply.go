package stack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/releaseutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// Labels of what naru makes.
const (
	labelComponent = "naru.io/component"
	labelStep      = "naru.io/step"
	labelDigest    = "naru.io/digest"
)

// resource is where objects of a kind are reached.
func (s *Stack) resource(o chart.Object, namespace string) (dynamic.ResourceInterface, bool, error) {
	gv, err := schema.ParseGroupVersion(o.APIVersion())
	if err != nil {
		return nil, false, fmt.Errorf("reading apiVersion %q of %s: %w", o.APIVersion(), o, err)
	}
	mapping, err := s.mapper.RESTMapping(gv.WithKind(o.Kind()).GroupKind(), gv.Version)
	if err != nil {
		return nil, false, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return s.dynamic.Resource(mapping.Resource), false, nil
	}
	if o.Namespace() != "" {
		namespace = o.Namespace()
	}
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return s.dynamic.Resource(mapping.Resource).Namespace(namespace), true, nil
}

// apply applies one object as naru's. Kinds that do not exist yet and admission
// webhooks that do not answer yet are waited for until ctx ends: an operator that was
// installed a moment ago brings them.
func (s *Stack) apply(ctx context.Context, o chart.Object, namespace string) error {
	return s.applyAs(ctx, FieldManager, o, namespace)
}

func (s *Stack) applyAs(ctx context.Context, manager string, o chart.Object, namespace string) error {
	var last error
	for {
		err := s.applyOnce(ctx, manager, o, namespace)
		if err == nil || !comes(err) {
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		if err := pause(ctx, s.opts.Poll); err != nil {
			return errors.Join(last, err)
		}
		s.lookAgain()
	}
}

// comes tells errors that pass by themselves.
func comes(err error) bool {
	if meta.IsNoMatchError(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsConflict(err) {
		return true
	}
	// The API server restarts, or another takes its address.
	if utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsTimeout(err) || utilnet.IsProbableEOF(err) {
		return true
	}
	// The API server says so of a webhook that cannot be reached; there is no type.
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
}

func (s *Stack) applyOnce(ctx context.Context, manager string, o chart.Object, namespace string) error {
	resource, namespaced, err := s.resource(o, namespace)
	if err != nil {
		return fmt.Errorf("applying %s: %w", o, err)
	}
	u := &unstructured.Unstructured{Object: runtimeCopy(o.Content)}
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "status")
	if namespaced && u.GetNamespace() == "" {
		u.SetNamespace(namespace)
	}
	if !namespaced {
		u.SetNamespace("")
	}
	_, err = resource.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		return fmt.Errorf("applying %s: %w", o, err)
	}
	return nil
}

// runtimeCopy copies an object deeply, with whole numbers as the API machinery wants
// them.
func runtimeCopy(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = copyValue(v)
	}
	return out
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return runtimeCopy(v)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copyValue(item)
		}
		return out
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
		return v
	case int:
		return int64(v)
	}
	return v
}

// ensureNamespace makes a namespace, or puts labels on the one that is there: those of
// every step of the component that uses it. Each component manages the fields of its
// own, so that none takes away another's.
func (s *Stack) ensureNamespace(ctx context.Context, c *manifest.ComponentSpec, name string) error {
	labels := map[string]any{}
	for _, step := range c.Steps {
		if step.Namespace != name {
			continue
		}
		for k, v := range step.NamespaceLabels {
			labels[k] = v
		}
	}
	metadata := map[string]any{"name": name}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	o := chart.Object{Content: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}}
	return s.applyAs(ctx, FieldManager+"-"+c.ID, o, "")
}

// applyAll applies objects in the order in which Helm installs kinds: definitions are
// waited for before what may be of them.
func (s *Stack) applyAll(ctx context.Context, objects []chart.Object, namespace string) error {
	objects = slices.Clone(objects)
	order := map[string]int{}
	for i, kind := range releaseutil.InstallOrder {
		order[kind] = i + 1
	}
	rank := func(o chart.Object) int {
		if n := order[o.Kind()]; n > 0 && (o.Group() == "" || strings.HasSuffix(o.Group(), ".k8s.io") || !strings.Contains(o.Group(), ".")) {
			return n
		}
		return len(order) + 1
	}
	slices.SortStableFunc(objects, func(a, b chart.Object) int { return rank(a) - rank(b) })
	var definitions []chart.Object
	for _, o := range objects {
		if !o.CRD && len(definitions) > 0 {
			if err := s.established(ctx, definitions); err != nil {
				return err
			}
			definitions = nil
		}
		if err := s.apply(ctx, o, namespace); err != nil {
			return err
		}
		if o.CRD {
			definitions = append(definitions, o)
		}
	}
	return s.established(ctx, definitions)
}

// established waits for CustomResourceDefinitions and looks what the cluster serves.
func (s *Stack) established(ctx context.Context, definitions []chart.Object) error {
	for _, o := range definitions {
		if err := s.waitFor(ctx, target{kind: "CustomResourceDefinition.apiextensions.k8s.io", name: o.Name(), want: wantReady}, nil); err != nil {
			return err
		}
	}
	if len(definitions) > 0 {
		s.lookAgain()
	}
	return nil
}

// exists tells whether an object is there.
func (s *Stack) exists(ctx context.Context, o chart.Object, namespace string) (bool, error) {
	resource, _, err := s.resource(o, namespace)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = resource.Get(ctx, o.Name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", o, err)
	}
	return true, nil
}

// vanishes tells Jobs that are removed some time after they have ended.
func vanishes(o chart.Object) bool {
	spec, _ := o.Content["spec"].(map[string]any)
	_, limited := spec["ttlSecondsAfterFinished"]
	return o.Kind() == "Job" && limited
}

// missing is the first object that is not there, "" when all are. Hooks come and go.
func (s *Stack) missing(ctx context.Context, objects []chart.Object, namespace string) (string, error) {
	for _, o := range objects {
		if o.Hook || vanishes(o) {
			continue
		}
		there, err := s.exists(ctx, o, namespace)
		if err != nil {
			return "", err
		}
		if !there {
			return o.String(), nil
		}
	}
	return "", nil
}

// pause waits d, or until ctx ends, which is its error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// sortedKeys are the keys of m, sorted.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
