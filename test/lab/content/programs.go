package content

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"naru/test/lab/cache"
)

// Programs builds etcd and the programs of Kubernetes for this machine, or finds them
// in the cache, and returns their paths by name.
func Programs(ctx context.Context, opts Options) (map[string]string, error) {
	recipe := ClusterRecipe()
	if opts.CacheDir == "" {
		return nil, errors.New("building programs: no cache folder")
	}
	root, err := filepath.Abs(opts.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("building programs: %w", err)
	}
	unlock, err := cache.Lock(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("building programs: %w", err)
	}
	defer unlock()
	b := &builder{cache: root, recipe: recipe, step: opts.OnStep}
	if b.step == nil {
		b.step = func(string) {}
	}
	out := map[string]string{}
	kube, err := b.program(ctx, &recipe.Cluster.Kubernetes)
	if err != nil {
		return nil, err
	}
	for _, name := range kubernetesCommands() {
		out[name] = filepath.Join(kube, name)
	}
	etcd, err := b.goBinaries(ctx, &recipe.Cluster.Etcd, "amd64")
	out["etcd"] = filepath.Join(etcd, "etcd")
	return out, b.built(err)
}
