//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
)

// layerCache keeps what was found in each unit, a file a unit, by Trivy's key: the
// unit's id with the versions of the analysers. A file is whole or not there.
type layerCache struct{ dir string }

func newLayerCache(dir string) (*layerCache, error) {
	return &layerCache{dir: dir}, os.MkdirAll(dir, 0o700)
}

func (c *layerCache) path(key string) string {
	return filepath.Join(c.dir, strings.TrimPrefix(key, "sha256:")+".json")
}

// MissingBlobs tells which keys the cache lacks, and marks the others as used now, by
// the time of their last change, for who prunes the cache by age. It has no artifacts and misses none:
// Trivy would put an image's config there.
func (c *layerCache) MissingBlobs(_ context.Context, _ string, keys []string) (bool, []string, error) {
	var missing []string
	now := time.Now()
	for _, key := range keys {
		if err := os.Chtimes(c.path(key), now, now); err != nil {
			missing = append(missing, key)
		}
	}
	return false, missing, nil
}

// PutBlob keeps what was found in a unit.
func (c *layerCache) PutBlob(_ context.Context, key string, info ftypes.BlobInfo) error {
	return writeJSON(c.path(key), info)
}

// GetBlob returns what was found in a unit.
func (c *layerCache) GetBlob(_ context.Context, key string) (ftypes.BlobInfo, error) {
	var info ftypes.BlobInfo
	ok, err := readJSON(c.path(key), &info)
	if err == nil && !ok {
		err = fmt.Errorf("reading what was found in %s: %w", key, fs.ErrNotExist)
	}
	return info, err
}

// DeleteBlobs drops units.
func (c *layerCache) DeleteBlobs(_ context.Context, keys []string) error {
	var errs []error
	for _, key := range keys {
		if err := os.Remove(c.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// The rest of what Trivy wants of a cache; none of it is of use here.

func (c *layerCache) PutArtifact(context.Context, string, ftypes.ArtifactInfo) error { return nil }

func (c *layerCache) GetArtifact(context.Context, string) (ftypes.ArtifactInfo, error) {
	return ftypes.ArtifactInfo{}, nil
}

func (c *layerCache) Close() error                { return nil }
func (c *layerCache) Clear(context.Context) error { return nil }

// writeJSON writes a file of the cache, whole or not at all.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "tmp-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// readJSON reads a file of the cache. One that is not there, or not whole, is none.
func readJSON(path string, v any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return json.Unmarshal(data, v) == nil, nil
}
