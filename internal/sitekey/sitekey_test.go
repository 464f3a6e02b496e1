package sitekey

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"naru/pkg/sign/verify"
)

func TestMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	first, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Created {
		t.Error("the first use did not say that it made the key")
	}
	info, err := os.Stat(filepath.Join(dir, PrivateName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key has mode %v, %v", info.Mode(), err)
	}
	again, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Created || again.Public().Fingerprint() != first.Public().Fingerprint() {
		t.Error("the second use has another key")
	}
	data, err := os.ReadFile(filepath.Join(dir, PublicName))
	if err != nil {
		t.Fatal(err)
	}
	if pub, err := verify.ParseKey("site.pub", data); err != nil || pub.Fingerprint() != first.Public().Fingerprint() {
		t.Errorf("the public half is of another key, %v", err)
	}
}

func TestMadeAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	prints := map[string]int{}
	created := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			k, err := Load(dir)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			prints[k.Public().Fingerprint()]++
			if k.Created {
				created++
			}
		})
	}
	wg.Wait()
	if len(prints) != 1 || created != 1 {
		t.Errorf("%d keys, made %d times", len(prints), created)
	}
}

func TestExposedKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, PrivateName), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); !errors.Is(err, ErrExposed) {
		t.Errorf("got %v, want ErrExposed", err)
	}
}

func TestSignedReportVerifies(t *testing.T) {
	dir := t.TempDir()
	k, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "reports", "push.json")
	if err := k.WriteSigned(path, map[string]string{"kind": "Report"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := os.ReadFile(path + SignatureSuffix)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := verify.LoadKeys(filepath.Join(dir, PublicName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.VerifyFile(bytes.NewReader(data), sig); err != nil {
		t.Error(err)
	}
	data[0] ^= 1
	if _, err := ring.VerifyFile(bytes.NewReader(data), sig); err == nil {
		t.Error("a changed report verifies")
	}
}

// TestPublicHalfIsMadeUp: a program that made the key and was cut off left no public half.
func TestPublicHalfIsMadeUp(t *testing.T) {
	dir := t.TempDir()
	key, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, PublicName)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(data, key.Public().PEM()) {
		t.Errorf("%q, %v", data, err)
	}
}
