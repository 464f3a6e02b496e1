package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"naru/internal/phase"
	"naru/internal/sitepki"
	"naru/manifest"
)

// harborCertificate is the secret that Harbor's values name, with a certificate for its
// host.
type harborCertificate struct {
	client                kubernetes.Interface
	namespace, name, host string
}

// certificateTask gives Harbor a certificate of the site's authority before its chart is
// deployed, whose pods wait for it.
func (c *Cluster) certificateTask(s *manifest.ComponentSpec) phase.Task {
	return phase.Task{What: "give Harbor its certificate", Interruptible: true, Deadline: 2 * time.Minute,
		Done: func(ctx context.Context) (bool, error) {
			a, err := c.Authority(ctx)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			h, err := c.harborCertificate(ctx, s)
			if err != nil {
				return false, err
			}
			return h.holds(ctx, a)
		},
		Do: func(ctx context.Context) error {
			a, err := c.Authority(ctx)
			if err != nil {
				return err
			}
			h, err := c.harborCertificate(ctx, s)
			if err != nil {
				return err
			}
			return h.put(ctx, a)
		}}
}

func (c *Cluster) harborCertificate(ctx context.Context, s *manifest.ComponentSpec) (*harborCertificate, error) {
	client, err := c.kube(ctx)
	if err != nil {
		return nil, err
	}
	facts := c.Facts().Harbor
	return &harborCertificate{client: client, namespace: harborNamespace(s), name: facts.TLSSecret, host: facts.Host}, nil
}

// holds tells whether the secret is there with a certificate by a that fits.
func (h *harborCertificate) holds(ctx context.Context, a *sitepki.Authority) (bool, error) {
	secret, err := h.client.CoreV1().Secrets(h.namespace).Get(ctx, h.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading Harbor's certificate: %w", err)
	}
	return len(secret.Data[corev1.TLSPrivateKeyKey]) > 0 && a.Fits(secret.Data[corev1.TLSCertKey], []string{h.host}), nil
}

// put issues a certificate and keeps it as the secret, in place of one that is there.
func (h *harborCertificate) put(ctx context.Context, a *sitepki.Authority) error {
	cert, key, err := a.Issue("naru Harbor", []string{h.host})
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}}
	_, err = h.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{FieldManager: "naru"})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making namespace %q: %w", h.namespace, err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: h.name, Namespace: h.namespace},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}
	secrets := h.client.CoreV1().Secrets(h.namespace)
	_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: "naru"})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: "naru"})
	}
	if err != nil {
		return fmt.Errorf("keeping Harbor's certificate: %w", err)
	}
	return nil
}
