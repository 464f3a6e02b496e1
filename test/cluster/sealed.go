package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// foreign is a pod whose image no bundle carries.
const foreign = `apiVersion: v1
kind: Pod
metadata: {name: foreign, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: foreign, image: "quay.io/somebody/something:1.0"}
`

// sealed wants install sealed to pass, and to fail on a foreign pod and name it;
// the pod's pull must fail at once.
func (w *world) sealed(ctx context.Context) (string, error) {
	file, err := w.writeSite(w.site)
	if err != nil {
		return "", err
	}
	check := func() (result, error) {
		return w.exec(w.install(ctx, "sealed", w.media(), "-f", file, "--key", w.pub()))
	}
	r, err := check()
	if err != nil {
		return "", err
	}
	if r.code != 0 {
		return "", fmt.Errorf("install sealed of a cluster as installed: exit code %d: %s", r.code, last(r.all(), 3000))
	}
	if err := w.applyFile(ctx, foreign); err != nil {
		return "", err
	}
	refused, err := within(ctx, 20*time.Second, func(ctx context.Context) error {
		out, err := w.kubectl(ctx, "-n", "default", "get", "pod", "foreign", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.reason}")
		if err == nil && !strings.Contains(out, "ErrImagePull") && !strings.Contains(out, "ImagePullBackOff") {
			err = fmt.Errorf("the foreign pod waits for %q", out)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	bad, err := check()
	if err != nil {
		return "", err
	}
	if bad.code == 0 || !strings.Contains(bad.all(), "quay.io/somebody/something:1.0") {
		return "", fmt.Errorf("install sealed with a foreign pod: exit code %d: %s", bad.code, last(bad.all(), 3000))
	}
	if _, err := w.kubectl(ctx, "-n", "default", "delete", "pod", "foreign", "--now"); err != nil {
		return "", err
	}
	return fmt.Sprintf("passes in %s; the foreign pull failed after %s, and fails it with exit code %d", seconds(r.took), seconds(refused), bad.code), nil
}
