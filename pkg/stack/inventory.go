package stack

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"naru/pkg/stack/chart"
)

// item names an object of an inventory.
type item struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

func (i item) object() chart.Object {
	metadata := map[string]any{"name": i.Name}
	if i.Namespace != "" {
		metadata["namespace"] = i.Namespace
	}
	return chart.Object{Content: map[string]any{"apiVersion": i.APIVersion, "kind": i.Kind, "metadata": metadata}}
}

// same leaves the version out: an object is the same under another one.
func (i item) same(o item) bool {
	return i.object().Group() == o.object().Group() && i.Kind == o.Kind && i.Namespace == o.Namespace && i.Name == o.Name
}

func itemOf(o chart.Object, namespace string) item {
	i := item{APIVersion: o.APIVersion(), Kind: o.Kind(), Namespace: o.Namespace(), Name: o.Name()}
	if i.Namespace == "" {
		i.Namespace = namespace
	}
	return i
}

func inventoryName(w *work) string { return "naru-inventory-" + w.spec.ID + "-" + w.step.Name }

// readInventory is what a step applied last, with the digest it had then.
func (s *Stack) readInventory(ctx context.Context, w *work) (items []item, digest string, err error) {
	m, err := s.client.CoreV1().ConfigMaps(Namespace).Get(ctx, inventoryName(w), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the inventory of step %q: %w", w.step.Name, err)
	}
	if component, step := m.Labels[labelComponent], m.Labels[labelStep]; component != w.spec.ID || step != w.step.Name {
		// "a-b" and "c", "a" and "b-c": what is in it is not for this step to prune.
		return nil, "", fmt.Errorf("reading the inventory of step %q of component %q: %q is that of step %q of component %q", w.step.Name, w.spec.ID, m.Name, step, component)
	}
	if items, err = parseInventory(m); err != nil {
		return nil, "", err
	}
	return items, m.Data["digest"], nil
}

func parseInventory(m *corev1.ConfigMap) ([]item, error) {
	var items []item
	if err := json.Unmarshal([]byte(m.Data["objects"]), &items); err != nil {
		return nil, fmt.Errorf("parsing the inventory %q: %w", m.Name, err)
	}
	return items, nil
}

// others are the items in the inventories of all other steps.
func (s *Stack) others(ctx context.Context, w *work) ([]item, error) {
	list, err := s.client.CoreV1().ConfigMaps(Namespace).List(ctx, metav1.ListOptions{LabelSelector: labelStep})
	if err != nil {
		return nil, fmt.Errorf("reading the inventories: %w", err)
	}
	var out []item
	for i := range list.Items {
		if m := &list.Items[i]; m.Name != inventoryName(w) {
			items, err := parseInventory(m)
			if err != nil {
				return nil, err
			}
			out = append(out, items...)
		}
	}
	return out, nil
}

// writeInventory records what a step applies. An empty digest says that it is not done
// yet.
func (s *Stack) writeInventory(ctx context.Context, w *work, items []item, digest string) error {
	data, err := json.Marshal(items)
	if err != nil {
		return fmt.Errorf("encoding the inventory: %w", err)
	}
	if err := s.ensureNamespace(ctx, w.spec, Namespace); err != nil {
		return err
	}
	return s.apply(ctx, chart.Object{Content: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": inventoryName(w), "namespace": Namespace, "labels": map[string]any{labelComponent: w.spec.ID, labelStep: w.step.Name}},
		"data":     map[string]any{"objects": string(data), "digest": digest},
	}}, Namespace)
}

func (s *Stack) compareInventory(ctx context.Context, w *work) (Action, string, error) {
	items, digest, err := s.readInventory(ctx, w)
	switch {
	case err != nil:
		return "", "", err
	case items == nil:
		return ActionApply, "it was never applied", nil
	case digest == "":
		return ActionApply, "the last run did not finish it", nil
	case digest != w.digest:
		return ActionApply, "its manifests or the facts of the site changed", nil
	}
	gone, err := s.missing(ctx, w.rendered.Objects, w.step.Namespace)
	if err != nil || gone != "" {
		return ActionApply, gone + " is gone", err
	}
	return ActionUnchanged, "", nil
}

// applyManifests applies a step's objects and prunes those that it had before and that
// no other step has now. The inventory is written first with both, so that a run that is
// killed forgets nothing.
func (s *Stack) applyManifests(ctx context.Context, w *work) error {
	before, _, err := s.readInventory(ctx, w)
	if err != nil {
		return err
	}
	var now []item
	for _, o := range w.rendered.Objects {
		now = append(now, itemOf(o, w.step.Namespace))
	}
	obsolete := difference(before, now)
	if err := s.writeInventory(ctx, w, append(append([]item{}, now...), obsolete...), ""); err != nil {
		return err
	}
	if err := s.applyAll(ctx, w.rendered.Objects, w.step.Namespace); err != nil {
		return err
	}
	if len(obsolete) > 0 {
		// A newer release may have moved an object to a step before this one.
		elsewhere, err := s.others(ctx, w)
		if err != nil {
			return err
		}
		obsolete = difference(obsolete, elsewhere)
	}
	for _, i := range obsolete {
		if err := s.prune(ctx, i); err != nil {
			return err
		}
	}
	return s.writeInventory(ctx, w, now, w.digest)
}

// difference are the items of list that now lacks.
func difference(list, now []item) []item {
	var out []item
	for _, i := range list {
		found := false
		for _, n := range now {
			found = found || i.same(n)
		}
		if !found {
			out = append(out, i)
		}
	}
	return out
}

// kept are kinds that are never pruned: what hangs off them is the site's data.
var kept = map[string]bool{"Namespace": true, "CustomResourceDefinition": true, "PersistentVolumeClaim": true, "PersistentVolume": true}

func (s *Stack) prune(ctx context.Context, i item) error {
	if kept[i.Kind] {
		return nil
	}
	o := i.object()
	there, err := s.exists(ctx, o, i.Namespace)
	if err != nil || !there {
		return err
	}
	resource, _, err := s.resource(o, i.Namespace)
	if err != nil {
		return err
	}
	background := metav1.DeletePropagationBackground
	err = resource.Delete(ctx, i.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("pruning %s: %w", o, err)
	}
	return nil
}
