package stack

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// errFailed says that an object can no longer become ready.
var errFailed = errors.New("it failed for good")

// condition is one of status.conditions.
type condition struct{ kind, status, reason, message string }

func (c condition) String() string {
	out := c.kind + "=" + c.status
	if c.reason != "" {
		out += " " + c.reason
	}
	if c.message != "" {
		out += ": " + c.message
	}
	return out
}

func conditions(o *unstructured.Unstructured) []condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var out []condition
	for _, item := range list {
		m, _ := item.(map[string]any)
		get := func(key string) string { s, _ := m[key].(string); return s }
		out = append(out, condition{get("type"), get("status"), get("reason"), get("message")})
	}
	return out
}

// holds tells whether what is wanted of an object holds, and how it stands.
func holds(o *unstructured.Unstructured, want string) (bool, string, error) {
	if want == wantExists {
		return true, "", nil
	}
	if seen, ok := number(o, "status", "observedGeneration"); ok && seen < o.GetGeneration() {
		return false, "its controller has not seen the last change yet", nil
	}
	if want != wantReady {
		return hasCondition(o, want)
	}
	if ready, ok := readiness[o.GetKind()]; ok {
		return ready(o)
	}
	return anyReady(o)
}

func hasCondition(o *unstructured.Unstructured, kind string) (bool, string, error) {
	for _, c := range conditions(o) {
		if c.kind == kind {
			return c.status == "True", c.String(), nil
		}
	}
	return false, "it has no condition " + kind, nil
}

// readiness says by kind what ready means.
var readiness = map[string]func(*unstructured.Unstructured) (bool, string, error){
	"Deployment":               deploymentReady,
	"ReplicaSet":               deploymentReady,
	"StatefulSet":              statefulSetReady,
	"DaemonSet":                daemonSetReady,
	"Job":                      jobReady,
	"Pod":                      podReady,
	"PersistentVolumeClaim":    func(o *unstructured.Unstructured) (bool, string, error) { return phaseIs(o, "Bound") },
	"Namespace":                func(o *unstructured.Unstructured) (bool, string, error) { return phaseIs(o, "Active") },
	"CustomResourceDefinition": func(o *unstructured.Unstructured) (bool, string, error) { return hasCondition(o, "Established") },
	"APIService":               func(o *unstructured.Unstructured) (bool, string, error) { return hasCondition(o, "Available") },
	"Node":                     func(o *unstructured.Unstructured) (bool, string, error) { return hasCondition(o, "Ready") },
	"Service":                  serviceReady,
}

func number(o *unstructured.Unstructured, path ...string) (int64, bool) {
	n, ok, _ := unstructured.NestedInt64(o.Object, path...)
	return n, ok
}

// wanted are the replicas asked for; 1 where none are stated.
func wanted(o *unstructured.Unstructured) int64 {
	if n, ok := number(o, "spec", "replicas"); ok {
		return n
	}
	return 1
}

func deploymentReady(o *unstructured.Unstructured) (bool, string, error) {
	want := wanted(o)
	updated, counts := number(o, "status", "updatedReplicas")
	if o.GetKind() == "ReplicaSet" {
		updated, counts = number(o, "status", "readyReplicas")
	}
	available, _ := number(o, "status", "availableReplicas")
	total, _ := number(o, "status", "replicas")
	seen, _ := number(o, "status", "observedGeneration")
	state := fmt.Sprintf("%d of %d replicas are available, %d updated", available, want, updated)
	return seen > 0 && (counts || want == 0) && updated >= want && available >= want && total <= want, state, nil
}

func statefulSetReady(o *unstructured.Unstructured) (bool, string, error) {
	want := wanted(o)
	ready, _ := number(o, "status", "readyReplicas")
	updated, _ := number(o, "status", "updatedReplicas")
	seen, _ := number(o, "status", "observedGeneration")
	strategy, _, _ := unstructured.NestedString(o.Object, "spec", "updateStrategy", "type")
	state := fmt.Sprintf("%d of %d replicas are ready, %d updated", ready, want, updated)
	return seen > 0 && ready >= want && (updated >= want || strategy == "OnDelete"), state, nil
}

func daemonSetReady(o *unstructured.Unstructured) (bool, string, error) {
	want, _ := number(o, "status", "desiredNumberScheduled")
	ready, _ := number(o, "status", "numberReady")
	updated, _ := number(o, "status", "updatedNumberScheduled")
	seen, _ := number(o, "status", "observedGeneration")
	strategy, _, _ := unstructured.NestedString(o.Object, "spec", "updateStrategy", "type")
	state := fmt.Sprintf("%d of %d pods are ready, %d updated", ready, want, updated)
	return seen > 0 && ready >= want && (updated >= want || strategy == "OnDelete"), state, nil
}

func jobReady(o *unstructured.Unstructured) (bool, string, error) {
	for _, c := range conditions(o) {
		switch {
		case c.kind == "Complete" && c.status == "True":
			return true, "", nil
		case c.kind == "Failed" && c.status == "True":
			return false, c.String(), fmt.Errorf("%w: %s", errFailed, c)
		}
	}
	failed, _ := number(o, "status", "failed")
	return false, fmt.Sprintf("it has not completed, %d tries failed", failed), nil
}

func podReady(o *unstructured.Unstructured) (bool, string, error) {
	if phase := phaseOf(o); phase == "Succeeded" {
		return true, "", nil
	}
	return hasCondition(o, "Ready")
}

func serviceReady(o *unstructured.Unstructured) (bool, string, error) {
	if kind, _, _ := unstructured.NestedString(o.Object, "spec", "type"); kind != "LoadBalancer" {
		return true, "", nil
	}
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
	return len(list) > 0, "no address was given to it", nil
}

func phaseOf(o *unstructured.Unstructured) string {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	return phase
}

func phaseIs(o *unstructured.Unstructured, want string) (bool, string, error) {
	return phaseOf(o) == want, fmt.Sprintf("its phase is %q", phaseOf(o)), nil
}

// anyReady judges a kind that is not known by what such kinds usually say.
func anyReady(o *unstructured.Unstructured) (bool, string, error) {
	for _, c := range conditions(o) {
		if c.kind == "Ready" || c.kind == "Available" {
			return c.status == "True", c.String(), nil
		}
	}
	if ready, ok, _ := unstructured.NestedBool(o.Object, "status", "ready"); ok {
		return ready, fmt.Sprintf("its status says ready: %v", ready), nil
	}
	if phase := phaseOf(o); phase != "" {
		return slices.Contains([]string{"Ready", "Running", "Succeeded", "Bound", "Active", "Available", "Deployed", "Completed", "green"}, phase), fmt.Sprintf("its phase is %q", phase), nil
	}
	if health, _, _ := unstructured.NestedString(o.Object, "status", "health"); health != "" {
		return health == "green" || health == "Healthy", fmt.Sprintf("its health is %q", health), nil
	}
	return false, "its status says nothing yet", nil
}
