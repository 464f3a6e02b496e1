package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	// explainTime bounds the questions asked of a cluster that does not do its work.
	explainTime = 20 * time.Second
	// maxReasons bounds what is said.
	maxReasons = 12
)

// explain collects what is known of why a target does not hold: conditions of its
// objects, the pods below them with their containers, and warnings among the events.
func (s *Stack) explain(ctx context.Context, t target) []string {
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	objects, err := s.find(ctx, t)
	if err != nil {
		return []string{"asking the cluster: " + err.Error()}
	}
	var out []string
	add := func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); !slices.Contains(out, line) && len(out) < maxReasons {
			out = append(out, line)
		}
	}
	for i := range objects {
		o := &objects[i]
		if ok, _, _ := holds(o, t.want); ok {
			continue
		}
		for _, pod := range s.podsOf(ctx, o) {
			explainPod(&pod, add)
			s.warnings(ctx, pod.Namespace, "Pod", pod.Name, add)
		}
		for _, c := range conditions(o) {
			if bad := c.status == "False" || c.kind == "ReplicaFailure" || c.kind == "Failed"; bad && c.message != "" {
				add("%s %s: %s", o.GetKind(), o.GetName(), c)
			}
		}
		s.warnings(ctx, o.GetNamespace(), o.GetKind(), o.GetName(), add)
	}
	return out
}

// hookReasons adds to the error of a chart how those of its hooks stand that have not
// done their work: Helm says of them only that it waited.
func (s *Stack) hookReasons(ctx context.Context, w *work, err error) error {
	var reasons []string
	for _, o := range w.rendered.Objects {
		if o.Hook && (o.Kind() == "Job" || o.Kind() == "Pod") {
			t := target{kind: o.Kind(), name: o.Name(), namespace: itemOf(o, w.step.Namespace).Namespace, want: wantReady}
			reasons = append(reasons, s.explain(context.WithoutCancel(ctx), t)...)
		}
	}
	if len(reasons) == 0 {
		return err
	}
	return &HookError{Err: err, Reasons: reasons}
}

// podsOf are the pods that an object selects, or the object itself where it is one.
func (s *Stack) podsOf(ctx context.Context, o *unstructured.Unstructured) []corev1.Pod {
	if o.GetKind() == "Pod" {
		pod, err := s.client.CoreV1().Pods(o.GetNamespace()).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return []corev1.Pod{*pod}
	}
	selector, ok, _ := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
	if !ok || len(selector) == 0 {
		return nil
	}
	list, err := s.client.CoreV1().Pods(o.GetNamespace()).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(selector).String()})
	if err != nil {
		return nil
	}
	return list.Items
}

// explainPod says what holds a pod up.
func explainPod(p *corev1.Pod, add func(string, ...any)) {
	before := false
	say := func(format string, args ...any) {
		before = true
		add("pod "+p.Name+": "+format, args...)
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		explainContainer(&c, say)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			say("not scheduled: %s", c.Message)
		}
	}
	if p.Status.Reason != "" {
		say("%s: %s", p.Status.Reason, p.Status.Message)
	}
	if !before && p.Status.Phase != corev1.PodRunning && p.Status.Phase != corev1.PodSucceeded {
		say("%s", strings.ToLower(string(p.Status.Phase)))
	}
}

func explainContainer(c *corev1.ContainerStatus, say func(string, ...any)) {
	if w := c.State.Waiting; w != nil && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
		say("container %s waits: %s %s", c.Name, w.Reason, w.Message)
	}
	for _, t := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
		if t != nil && t.ExitCode != 0 {
			say("container %s ended: %s, exit code %d %s", c.Name, t.Reason, t.ExitCode, t.Message)
		}
	}
	if c.State.Running != nil && !c.Ready && (c.Started == nil || *c.Started) {
		say("container %s runs, but its readiness probe does not pass", c.Name)
	}
}

// warnings are the last ones among the events of an object.
func (s *Stack) warnings(ctx context.Context, namespace, kind, name string, add func(string, ...any)) {
	list, err := s.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.kind=" + kind + ",involvedObject.name=" + name})
	if err != nil {
		return
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return b.LastTimestamp.Compare(a.LastTimestamp.Time) })
	for i, e := range list.Items {
		if i == 3 {
			return
		}
		add("event of %s %s: %s %s", strings.ToLower(kind), name, e.Reason, strings.TrimSpace(e.Message))
	}
}
