package stack

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"naru/manifest"
)

func secretName(component string) string { return "naru-secrets-" + component }

// readSecrets are the generated secrets of a component, as far as there are any, and
// whether there are all.
func (s *Stack) readSecrets(ctx context.Context, c *manifest.ComponentSpec) (map[string]string, bool, error) {
	out := map[string]string{}
	if len(c.Secrets) == 0 {
		return out, true, nil
	}
	kept, err := s.client.CoreV1().Secrets(Namespace).Get(ctx, secretName(c.ID), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, false, fmt.Errorf("reading the secrets of component %q: %w", c.ID, err)
	}
	complete := true
	for _, want := range c.Secrets {
		value, ok := kept.Data[want.Name]
		if err != nil || !ok {
			complete = false
			continue
		}
		out[want.Name] = string(value)
	}
	return out, complete, nil
}

// Secrets are the generated secrets of a component, as far as they were made.
func (s *Stack) Secrets(ctx context.Context, c *manifest.ComponentSpec) (map[string]string, error) {
	have, _, err := s.readSecrets(ctx, c)
	return have, err
}

// keepSecrets makes the secrets that are missing and returns all. What is there is
// never made anew.
func (s *Stack) keepSecrets(ctx context.Context, c *manifest.ComponentSpec) (map[string]string, error) {
	have, complete, err := s.readSecrets(ctx, c)
	if err != nil || complete {
		return have, err
	}
	if err := s.ensureNamespace(ctx, c, Namespace); err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for _, want := range c.Secrets {
		if have[want.Name] == "" {
			if have[want.Name], err = generate(want); err != nil {
				return nil, err
			}
		}
		data[want.Name] = []byte(have[want.Name])
	}
	secrets := s.client.CoreV1().Secrets(Namespace)
	kept, err := secrets.Get(ctx, secretName(c.ID), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: secretName(c.ID), Labels: map[string]string{labelComponent: c.ID}},
			Data:       data,
		}, metav1.CreateOptions{FieldManager: FieldManager})
	case err == nil:
		if kept.Data == nil {
			kept.Data = map[string][]byte{}
		}
		for name, value := range data { // others are of earlier versions: kept too
			kept.Data[name] = value
		}
		_, err = secrets.Update(ctx, kept, metav1.UpdateOptions{FieldManager: FieldManager})
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the secrets of component %q: %w", c.ID, err)
	}
	return have, nil
}

// Alphabets of generated secrets.
const (
	alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	hexes = "0123456789abcdef"
)

// generate makes a secret of uniformly random characters.
func generate(want manifest.Secret) (string, error) {
	alphabet, length := alnum, want.Length
	if want.Alphabet == "hex" {
		alphabet = hexes
	}
	if length == 0 {
		length = 32
	}
	var b strings.Builder
	for range length {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", fmt.Errorf("making secret %q: %w", want.Name, err)
		}
		b.WriteByte(alphabet[n.Int64()])
	}
	return b.String(), nil
}

// sampleSecrets stand in for secrets that are not made yet.
func sampleSecrets(c *manifest.ComponentSpec) map[string]string {
	out := map[string]string{}
	for _, s := range c.Secrets {
		out[s.Name] = strings.Repeat("s", max(s.Length, 16))
	}
	return out
}
