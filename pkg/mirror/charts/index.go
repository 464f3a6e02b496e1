package charts

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"

	"naru/pkg/mirror"
	"naru/pkg/mirror/remote"
)

// maxIndex bounds the index of a chart repository, in bytes; large ones have 30 MB.
const maxIndex = 256 << 20

// indexAttempts is how often an index is asked for whose body breaks off.
const indexAttempts = 4

// indexes are the indexes of repositories, each read once.
type indexes struct {
	mu  sync.Mutex
	all map[string]*index
}

// index is that of one repository, once it was read.
type index struct {
	mu   sync.Mutex
	file *repo.IndexFile
}

func (x *indexes) of(repository string) *index {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all = map[string]*index{}
	}
	if x.all[repository] == nil {
		x.all[repository] = &index{}
	}
	return x.all[repository]
}

// index reads the index of an HTTP repository.
func (f *Fetcher) index(ctx context.Context, repository string) (*repo.IndexFile, error) {
	x := f.indexes.of(repository)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file != nil {
		return x.file, nil
	}
	url := strings.TrimSuffix(repository, "/") + "/index.yaml"
	data, err := f.get(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	var file repo.IndexFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", url, err)
	}
	x.file = &file
	return x.file, nil
}

// get reads a document whole.
func (f *Fetcher) get(ctx context.Context, url string) (data []byte, err error) {
	for attempt := 1; ; attempt++ {
		data, err = f.getOnce(ctx, url)
		if attempt == indexAttempts || !remote.IsTemporary(err) {
			return data, err
		}
	}
}

func (f *Fetcher) getOnce(ctx context.Context, url string) ([]byte, error) {
	body, _, _, err := f.client.Get(ctx, url, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, maxIndex+1))
	if err == nil && len(data) > maxIndex {
		err = fmt.Errorf("more than %d bytes", maxIndex)
	}
	return data, err
}

// locate finds the URL of a chart's package in its repository, and compares the
// digest that the index has with the one that is pinned.
func (f *Fetcher) locate(ctx context.Context, c *Chart) error {
	file, err := f.index(ctx, c.Repository)
	if err != nil {
		return err
	}
	entry := find(file, c.Name, c.Version)
	if entry == nil || len(entry.URLs) == 0 {
		return &NotFoundError{Name: c.Name, Version: c.Version, Repository: c.Repository, Have: versions(file, c.Name)}
	}
	c.Source, err = repo.ResolveReferenceURL(strings.TrimSuffix(c.Repository, "/")+"/", entry.URLs[0])
	if err != nil {
		return fmt.Errorf("resolving the URL of chart %q: %w", c.Name, err)
	}
	hex := strings.TrimPrefix(entry.Digest, "sha256:")
	stated := digest.NewDigestFromEncoded(digest.SHA256, hex)
	if hex == "" || stated.Validate() != nil {
		return nil // not every repository has digests
	}
	if c.Digest != "" && c.Digest != stated {
		return &mirror.MismatchError{Source: c.Repository + "/index.yaml", Want: c.Digest, Got: stated}
	}
	c.Digest = stated
	return nil
}

// find is the entry of exactly a version, or nil.
func find(file *repo.IndexFile, name, version string) *repo.ChartVersion {
	for _, v := range file.Entries[name] {
		if v != nil && v.Metadata != nil && v.Version == version {
			return v
		}
	}
	return nil
}

// versions are up to eight versions of a chart, as the index orders them.
func versions(file *repo.IndexFile, name string) []string {
	var out []string
	for _, v := range file.Entries[name] {
		if v != nil && v.Metadata != nil && len(out) < 8 {
			out = append(out, v.Version)
		}
	}
	return out
}
