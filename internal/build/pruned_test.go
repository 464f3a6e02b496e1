package build_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"naru/internal/build"
	"naru/internal/cache"
	"naru/manifest"
)

// TestPrunedCacheBuildsWhatWasKept holds that a prune leaves all that a build of a kept
// lock, or of what was built lately, takes: images, members of files, charts with what
// refers to them, OS packages. The build asks for nothing.
func TestPrunedCacheBuildsWhatWasKept(t *testing.T) {
	charts := func(chart string) func(*testing.T) (*world, func() build.Options) {
		return func(t *testing.T) (*world, func() build.Options) {
			w := newWorld(t)
			w.harbour("app")
			w.signChart()
			return w, func() build.Options { return w.withCharts(bothImages + chart + chartSteps) }
		}
	}
	for name, prepare := range map[string]func(*testing.T) (*world, func() build.Options){
		"images and files": func(t *testing.T) (*world, func() build.Options) { w := newWorld(t); return w, w.options },
		"debs":             func(t *testing.T) (*world, func() build.Options) { w := newDebArchive(t).world(t); return w, w.options },
		"http charts":      charts(chartHTTP), "oci charts": charts(chartOCI),
	} {
		t.Run(name, func(t *testing.T) {
			w, options := prepare(t)
			o := options()
			w.run(o)
			w.closed()
			fromCache := func() {
				t.Helper()
				again := options()
				again.CacheDir, again.LockFile, again.Locked = o.CacheDir, filepath.Join(o.OutDir, "lock.yaml"), true
				if r := w.run(again); len(w.up.Requests()) != 0 || r.Bundle == "" {
					t.Errorf("%d requests: %v", len(w.up.Requests()), w.up.Requests())
				}
			}
			prune := func(opts cache.PruneOptions) {
				t.Helper()
				opts.Dir, opts.Now = o.CacheDir, time.Now()
				must(cache.Prune(t.Context(), opts, false))(t)
			}
			prune(cache.PruneOptions{Locks: []*manifest.Lock{lockOf(t, o.OutDir)}})
			fromCache()
			then := time.Now().Add(-60 * 24 * time.Hour)
			ok(t, filepath.WalkDir(o.CacheDir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				return os.Chtimes(path, then, then)
			}))
			fromCache() // a use
			prune(cache.PruneOptions{OlderThan: 30 * 24 * time.Hour})
			fromCache()
		})
	}
}
