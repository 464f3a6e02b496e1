package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// What is waited for, beside the type of a condition.
const (
	wantReady  = "ready"
	wantExists = "exists"
)

// target is something to wait for: an object by its name, or all of a kind that a
// selector finds.
type target struct {
	kind, name, namespace, selector string
	want                            string
	// vanishes says that the object is removed once it has done its work.
	vanishes bool
}

func (t target) String() string {
	kind, _, _ := strings.Cut(t.kind, ".")
	name := t.name
	if name == "" {
		name = "*"
		if t.selector != "" {
			name = "[" + t.selector + "]"
		}
	}
	if t.namespace != "" {
		name = t.namespace + "/" + name
	}
	return kind + " " + name
}

// targets are what a step waits for: what it says, else its own workloads.
func (w *work) targets() []target {
	var out []target
	for _, wait := range w.step.Wait {
		t := target{kind: wait.Kind, name: wait.Name, namespace: wait.Namespace, selector: wait.Selector, want: wait.For}
		if t.namespace == "" {
			t.namespace = w.step.Namespace
		}
		out = append(out, t)
	}
	if len(out) > 0 {
		return out
	}
	for _, o := range w.rendered.Objects {
		if !o.Hook && slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet", "Job", "CustomResourceDefinition"}, o.Kind()) && o.Name() != "" {
			out = append(out, target{kind: qualified(o.Kind(), o.Group()), name: o.Name(), namespace: itemOf(o, w.step.Namespace).Namespace, want: wantReady, vanishes: vanishes(o)})
		}
	}
	return out
}

func qualified(kind, group string) string {
	if strings.Contains(group, ".") {
		return kind + "." + group
	}
	return kind
}

// waitAll waits for all targets of a step.
func (s *Stack) waitAll(ctx context.Context, w *work) error {
	for _, t := range w.targets() {
		if err := s.waitFor(ctx, t, func(state string) { s.event(w.spec, w.step, PhaseWaiting, "%s: %s", t, state) }); err != nil {
			return err
		}
	}
	return nil
}

// waitFor waits for one target until ctx ends; told hears of changes on the way.
func (s *Stack) waitFor(ctx context.Context, t target, told func(state string)) error {
	start, said := time.Now(), ""
	for {
		done, state, err := s.look(ctx, t)
		if done {
			return nil
		}
		if err != nil && !comes(err) && ctx.Err() == nil {
			return fmt.Errorf("waiting for %s: %w", t, err)
		}
		if ctx.Err() == nil && state != "" && state != said {
			said = state
			if told != nil {
				told(state)
			}
		}
		if err := pause(ctx, s.opts.Poll); err != nil {
			return s.notReady(ctx, t, said, start)
		}
		if meta.IsNoMatchError(err) {
			s.lookAgain()
		}
	}
}

// notReady explains what did not become ready. A run that was stopped gets no
// explanation but that.
func (s *Stack) notReady(ctx context.Context, t target, state string, start time.Time) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, errDeadline) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &NotReadyError{Object: t.String(), Want: t.want, Waited: time.Since(start), State: state, Reasons: s.explain(context.WithoutCancel(ctx), t)}
}

// resourceOf is where the objects of a kind, "Kind" or "Kind.group", are reached.
func (s *Stack) resourceOf(kind, namespace string) (dynamic.ResourceInterface, error) {
	name, group, _ := strings.Cut(kind, ".")
	if group == "" {
		group = builtin[name]
	}
	mapping, err := s.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: name})
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return s.dynamic.Resource(mapping.Resource), nil
	}
	return s.dynamic.Resource(mapping.Resource).Namespace(namespace), nil
}

// builtin are the groups of kinds that are named without one.
var builtin = map[string]string{
	"Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "ReplicaSet": "apps",
	"Job": "batch", "CronJob": "batch", "CustomResourceDefinition": "apiextensions.k8s.io", "APIService": "apiregistration.k8s.io",
	"Ingress": "networking.k8s.io", "StorageClass": "storage.k8s.io", "PodDisruptionBudget": "policy",
}

// find gets the objects of a target.
func (s *Stack) find(ctx context.Context, t target) ([]unstructured.Unstructured, error) {
	resource, err := s.resourceOf(t.kind, t.namespace)
	if err != nil {
		return nil, err
	}
	if t.name == "" {
		list, err := resource.List(ctx, metav1.ListOptions{LabelSelector: t.selector})
		if err != nil {
			return nil, err
		}
		return list.Items, nil
	}
	o, err := resource.Get(ctx, t.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []unstructured.Unstructured{*o}, nil
}

// look tells whether a target holds now, and how it stands.
func (s *Stack) look(ctx context.Context, t target) (bool, string, error) {
	objects, err := s.find(ctx, t)
	if err != nil {
		return false, err.Error(), err
	}
	if len(objects) == 0 {
		return t.vanishes, "it does not exist", nil
	}
	for i := range objects {
		ok, state, err := holds(&objects[i], t.want)
		if err != nil || !ok {
			if t.name == "" {
				state = objects[i].GetName() + ": " + state
			}
			return false, state, err
		}
	}
	return true, "", nil
}
