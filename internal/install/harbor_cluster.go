package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/harbor"
)

// kube is a client of the cluster's API.
func (c *Cluster) kube(ctx context.Context) (kubernetes.Interface, error) {
	config, err := c.restConfig(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return client, nil
}

// Trivy reads the login for its database from this secret when it starts; the values of
// the chart name it.
const (
	trivySecret = "harbor-trivy-pull" //nolint:gosec // a name
	trivyPods   = "component=trivy"
)

// trivyLoginTask gives Harbor's scanner the login of the pull robot: its database comes
// from a private project. Pods that started with another one are started again.
func (c *Cluster) trivyLoginTask(s *manifest.ComponentSpec) phase.Task {
	namespace := harborNamespace(s)
	return phase.Task{What: "give Trivy the login for its database", Interruptible: true, Deadline: 2 * time.Minute,
		Done: func(ctx context.Context) (bool, error) {
			l, err := c.robotLogin(ctx, harbor.RolePull)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOtherHarbor) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			client, err := c.kube(ctx)
			if err != nil {
				return false, err
			}
			return trivyHolds(ctx, client, namespace, l)
		},
		Do: func(ctx context.Context) error {
			l, err := c.robotLogin(ctx, harbor.RolePull)
			if err != nil {
				return err
			}
			client, err := c.kube(ctx)
			if err != nil {
				return err
			}
			return giveTrivy(ctx, client, namespace, l)
		}}
}

// trivyData is what the secret holds.
func trivyData(l *RobotLogin) map[string][]byte {
	return map[string][]byte{"username": []byte(l.User), "password": []byte(l.Secret)}
}

// trivyHolds tells whether the secret has the login, and no pod is older than it.
func trivyHolds(ctx context.Context, client kubernetes.Interface, namespace string, l *RobotLogin) (bool, error) {
	secret, err := trivyKept(ctx, client, namespace, l)
	if err != nil || secret == nil {
		return false, err
	}
	old, err := olderPods(ctx, client, namespace, secret)
	return err == nil && len(old) == 0, err
}

// trivyKept is the secret when it has the login, else nil.
func trivyKept(ctx context.Context, client kubernetes.Interface, namespace string, l *RobotLogin) (*corev1.Secret, error) {
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, trivySecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Trivy's login: %w", err)
	}
	if !maps.EqualFunc(secret.Data, trivyData(l), bytes.Equal) {
		return nil, nil
	}
	return secret, nil
}

// olderPods are the pods of Trivy that started before the secret was made, both by the
// clock of the API server.
func olderPods(ctx context.Context, client kubernetes.Interface, namespace string, secret *corev1.Secret) ([]string, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: trivyPods})
	if err != nil {
		return nil, fmt.Errorf("looking for Trivy: %w", err)
	}
	var old []string
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && p.CreationTimestamp.Before(&secret.CreationTimestamp) {
			old = append(old, p.Name)
		}
	}
	return old, nil
}

// giveTrivy makes the secret, anew where it has another login, and has the pods that are
// older than it started again.
func giveTrivy(ctx context.Context, client kubernetes.Interface, namespace string, l *RobotLogin) error {
	secret, err := trivyKept(ctx, client, namespace, l)
	if err != nil {
		return err
	}
	if secret == nil {
		secrets := client.CoreV1().Secrets(namespace)
		if err := secrets.Delete(ctx, trivySecret, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("replacing Trivy's login: %w", err)
		}
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: trivySecret, Namespace: namespace}, Data: trivyData(l)}
		if secret, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: "naru"}); err != nil {
			return fmt.Errorf("keeping Trivy's login: %w", err)
		}
	}
	old, err := olderPods(ctx, client, namespace, secret)
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("starting Trivy again: %w", err)
		}
	}
	return nil
}
