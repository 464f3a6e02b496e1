package apiserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Play gives every pod a state until ctx ends, as a kubelet would: pods that are to
// end have ended well, others run and are ready. A pod with an image whose name holds
// "broken" waits for it, one with "crash" has ended with an error.
func (s *Server) Play(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := s.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err == nil {
			for i := range list.Items {
				s.playPod(ctx, &list.Items[i])
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Server) playPod(ctx context.Context, p *corev1.Pod) {
	pods := s.Client.CoreV1().Pods(p.Namespace)
	if p.DeletionTimestamp != nil {
		now := int64(0)
		_ = pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		return
	}
	status := state(p)
	if p.Status.Phase == status.Phase && len(p.Status.ContainerStatuses) == len(status.ContainerStatuses) {
		return
	}
	p.Status = status
	_, _ = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
}

func state(p *corev1.Pod) corev1.PodStatus {
	out := corev1.PodStatus{Phase: corev1.PodRunning}
	ready := corev1.ConditionTrue
	for _, c := range p.Spec.Containers {
		cs := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}
		switch {
		case strings.Contains(c.Image, "broken"):
			out.Phase, ready, cs.Ready = corev1.PodPending, corev1.ConditionFalse, false
			cs.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: not found", c.Image)}}
		case strings.Contains(c.Image, "crash"):
			ready, cs.Ready = corev1.ConditionFalse, false
			cs.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off restarting failed container"}}
			cs.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", Message: "no license"}}
		case p.Spec.RestartPolicy != corev1.RestartPolicyAlways:
			out.Phase, cs.Ready = corev1.PodSucceeded, false
			cs.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}
		}
		out.ContainerStatuses = append(out.ContainerStatuses, cs)
	}
	out.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.ContainersReady, Status: ready},
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()},
	}
	return out
}
