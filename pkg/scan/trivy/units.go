//go:build goexperiment.jsonv2

package trivy

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/scan"
)

// contentUnits are what is looked through for packages and secrets: the layers of an
// image, a file by itself or, of an archive, what is in it, and what is in a chart.
func (s *run) contentUnits(i int) []unit {
	t := &s.targets[i]
	var out []unit
	switch t.Kind {
	case manifest.ArtifactImage:
		for _, b := range t.Blobs {
			switch {
			case isLayer(b.MediaType):
				out = append(out, unit{id: b.Digest, size: b.Size, open: s.openTar(b)})
			case b.MediaType == checksLayer:
				out = append(out, unit{id: fileID("content", b), size: b.Size, open: s.openFile(b)})
			case scan.IsDatabaseLayer(b.MediaType) && len(t.Blobs) == 1: // as every database is; among others it may be anything
				s.data[i] = "a database of the scanner, which was not looked into"
			default:
				s.notes[i] = fmt.Sprintf("content of type %s was not scanned", b.MediaType)
			}
		}
	case manifest.ArtifactFile, manifest.ArtifactChart:
		for _, b := range t.Blobs {
			if packageFamily(b.Name) == "" {
				out = append(out, unit{id: fileID("content", b), size: b.Size, open: s.openFile(b)})
			}
		}
	}
	return out
}

// configUnits are what is checked for misconfiguration: charts, and files of YAML.
func (s *run) configUnits(i int) []unit {
	t := &s.targets[i]
	var out []unit
	for _, b := range t.Blobs {
		ext := strings.ToLower(path.Ext(b.Name))
		manifests := t.Kind == manifest.ArtifactFile && (ext == ".yaml" || ext == ".yml")
		if t.Kind != manifest.ArtifactChart && !manifests {
			continue
		}
		if t.Kind == manifest.ArtifactChart {
			b.Name = strings.TrimSuffix(path.Base(b.Name), ".tgz") + ".tgz" // by which Trivy knows it
		}
		out = append(out, unit{id: fileID("config", b), size: b.Size, open: func(ctx context.Context) (io.ReadCloser, error) {
			r, err := s.opts.Blobs.OpenBlob(ctx, b.Digest)
			if err != nil {
				return nil, err
			}
			return wrapFile(b, r)
		}})
	}
	return out
}

// fileID is an id for a file as it is looked at.
func fileID(use string, b scan.Blob) digest.Digest {
	return digest.FromString(fmt.Sprintf("%s %q %s", use, b.Name, b.Digest))
}

// checksLayer is an archive of Trivy's checks, as Harbor's scanner takes them.
const checksLayer = "application/vnd.cncf.openpolicyagent.layer.v1.tar+gzip"

// isLayer tells layers of images from other content that manifests may list.
func isLayer(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.")
}

// openTar opens a layer.
func (s *run) openTar(b scan.Blob) func(ctx context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r, err := s.opts.Blobs.OpenBlob(ctx, b.Digest)
		if err != nil {
			return nil, err
		}
		return decompressed(r)
	}
}

// openFile opens a file as a tar: an archive as what it holds, any other as a tar of
// it alone.
func (s *run) openFile(b scan.Blob) func(ctx context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r, err := s.opts.Blobs.OpenBlob(ctx, b.Digest)
		if err != nil {
			return nil, err
		}
		archive, err := opensAsTar(r, b.Size)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		if archive != nil {
			return archive, nil
		}
		return wrapFile(b, r)
	}
}

// wrapFile is a tar of one file, as a program, since Trivy looks into no other
// binaries. It closes r.
func wrapFile(b scan.Blob, r io.ReadSeekCloser) (io.ReadCloser, error) {
	var head bytes.Buffer
	tw := tar.NewWriter(&head)
	if err := tw.WriteHeader(&tar.Header{Name: strings.TrimPrefix(b.Name, "/"), Mode: 0o755, Size: b.Size, Typeflag: tar.TypeReg}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	const block = 512
	padding := (block - b.Size%block) % block
	tail := bytes.NewReader(make([]byte, padding+2*block))
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&head, r, tail), r}, nil
}
