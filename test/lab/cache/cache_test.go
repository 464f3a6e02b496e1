package cache_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"naru/test/lab/cache"
)

func TestLockExcludesAndSweeps(t *testing.T) {
	root := t.TempDir()
	left := filepath.Join(root, "part", ".new-killed")
	kept := filepath.Join(root, "part", "whole")
	for _, d := range []string{left, kept} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := cache.Lock(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unfinished folder is still there: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("finished folder is gone: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := cache.Lock(ctx, root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	unlock, err = cache.Lock(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestFillIsAllOrNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "part", "whole")
	broken := errors.New("broken")
	err := cache.Fill(dir, func(tmp string) error {
		return errors.Join(os.WriteFile(filepath.Join(tmp, "half"), nil, 0o644), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("filling: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if err := cache.Fill(dir, func(tmp string) error { return os.WriteFile(filepath.Join(tmp, "all"), nil, 0o644) }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "all")); err != nil {
		t.Error(err)
	}
}
