package store

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLockFileGoesAndComes holds that a lock excludes others although its file is
// removed by each who lets go of it.
func TestLockFileGoesAndComes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	var inside, entered atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3000 {
				f, err := acquire(path)
				if err != nil {
					t.Error(err)
					return
				}
				if f == nil {
					continue
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				entered.Add(1)
				inside.Add(-1)
				release(f)
			}
		})
	}
	wg.Wait()
	if entered.Load() == 0 {
		t.Error("nobody got the lock")
	}
}
