package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"naru/test/lab/layout"
	"naru/test/lab/upstream"
	"naru/test/lab/workload"
)

// built is what is read of the result of bundle build.
type built struct {
	Bundle   string
	UpToDate bool
	Blobs    int
	Bytes    int64
	Volumes  []struct {
		Name string
		Size int64
	}
}

// source is content and an upstream that serves it.
type source struct {
	up     *upstream.Upstream
	layout *layout.Layout
	file   string // the Content file
}

// newSource makes content of a shape, which follows from a seed, and serves it.
// The caller closes up.
func (s *suite) newSource(ctx context.Context, seed uint64, shape workload.Shape) (*source, error) {
	material := filepath.Join(s.work, "material.bin")
	if err := s.writeMaterial(material); err != nil {
		return nil, err
	}
	l, err := workload.Generate(ctx, workload.Options{CacheDir: filepath.Join(s.work, "content"), Shape: shape, Seed: seed, Material: []string{material}})
	if err != nil {
		return nil, err
	}
	up, err := upstream.Start(ctx, upstream.Options{})
	if err != nil {
		return nil, err
	}
	if err := up.Add(ctx, l); err != nil {
		_ = up.Close()
		return nil, err
	}
	return &source{up: up, layout: l, file: filepath.Join(l.Dir, workload.ContentFile)}, nil
}

// writeMaterial writes what content is made of: noise, and as much that compresses.
func (s *suite) writeMaterial(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	const piece, pieces = 256 << 10, 64
	r := s.random(streamMaterial)
	data := make([]byte, 0, piece*pieces)
	for i := range pieces {
		if i%2 == 0 {
			data = appendNoise(data, r, piece)
		} else {
			data = appendText(data, r, piece)
		}
	}
	return os.WriteFile(path, data, 0o600)
}

func appendNoise(data []byte, r *rand.Rand, n int) []byte {
	for range n / 8 {
		data = binary.LittleEndian.AppendUint64(data, r.Uint64())
	}
	return data
}

func appendText(data []byte, r *rand.Rand, n int) []byte {
	for end := len(data) + n; len(data) < end; {
		line := fmt.Sprintf("%04d the ferry crosses at %02d:%02d with %d on board\n", r.IntN(2000), r.IntN(24), r.IntN(60), r.IntN(400))
		data = append(data, line[:min(len(line), end-len(data))]...)
	}
	return data
}

// buildArgs are the arguments of a build of src into out.
func (s *suite) buildArgs(src *source, out, cache string, more ...string) []string {
	args := []string{"build", "--no-scan", "-f", src.file, "--key", s.key + ".key", "--out", out, "--cache", cache,
		"--ca-file", src.up.CAFile(), "--installers", s.bin}
	for _, m := range src.up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	return append(args, more...)
}
