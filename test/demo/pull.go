package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// artifact is one line of bundle list.
type artifact struct {
	Kind, Name, Platform, Digest, Source string
	Size                                 int64
}

// transport trusts the depot's own authority and nothing else.
func (d *demo) transport() (*http.Transport, error) {
	pem, err := os.ReadFile(filepath.Join(d.work, "depot", "tls", "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the depot's ca.crt holds no certificate")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, nil
}

// pullImages pulls every image by tag and by platform digest from the depot, with
// go-containerregistry, which hashes what it gets.
func (d *demo) pullImages(ctx context.Context) (string, error) {
	transport, err := d.transport()
	if err != nil {
		return "", err
	}
	images, layers := 0, 0
	for _, a := range d.list {
		if a.Kind != "image" {
			continue
		}
		repo, _, _ := strings.Cut(a.Name, "@")
		repo = repo[:strings.LastIndex(repo, ":")]
		ref, err := name.ParseReference(d.depotURL + "/" + repo + "@" + a.Digest)
		if err != nil {
			return "", err
		}
		img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithTransport(transport))
		if err != nil {
			return "", err
		}
		n, err := readLayers(img)
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", a.Name, a.Platform, err)
		}
		images++
		layers += n
		if err := d.sameTag(ctx, a.Name, transport); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d platform images, %d layers, every digest right", images, layers), nil
}

// readLayers reads every layer of an image to its end; go-containerregistry fails
// the read when the digest is wrong.
func readLayers(img v1.Image) (int, error) {
	if _, err := img.ConfigFile(); err != nil {
		return 0, err
	}
	layers, err := img.Layers()
	if err != nil {
		return 0, err
	}
	for _, layer := range layers {
		body, err := layer.Compressed()
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, body)
		if err := errors.Join(err, body.Close()); err != nil {
			return 0, err
		}
	}
	return len(layers), nil
}

// sameTag compares what the depot and the upstream, while it was there, say a tag is.
func (d *demo) sameTag(ctx context.Context, image string, transport http.RoundTripper) error {
	ref, err := name.ParseReference(d.depotURL + "/" + image)
	if err != nil {
		return err
	}
	desc, err := remote.Head(ref, remote.WithContext(ctx), remote.WithTransport(transport))
	if err != nil {
		return err
	}
	if want := d.upstreamDigests[image]; desc.Digest.String() != want {
		return fmt.Errorf("%s is %s in the depot, was %s upstream", image, desc.Digest, want)
	}
	return nil
}

// pullFiles fetches every file of the depot's tree and hashes it; a file carried
// whole must have the digest that the lock pins.
func (d *demo) pullFiles(ctx context.Context) (string, error) {
	transport, err := d.transport()
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: transport}
	files, pinned := 0, 0
	want := map[string]bool{}
	for _, a := range d.list {
		if a.Kind == "file" {
			want[strings.TrimPrefix(a.Digest, "sha256:")] = true
		}
	}
	err = d.walkFiles(ctx, client, "/files/", func(path, digest string) error {
		got, err := d.hash(ctx, client, path)
		if err != nil {
			return err
		}
		if got != digest {
			return fmt.Errorf("%s has sha256 %s, the depot says %s", path, got, digest)
		}
		files++
		if want[got] {
			pinned++
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if files == 0 {
		return "", errors.New("the depot lists no files")
	}
	return fmt.Sprintf("%d files, every checksum right, %d of them as locked", files, pinned), nil
}

func (d *demo) hash(ctx context.Context, client *http.Client, path string) (string, error) {
	body, err := d.get(ctx, client, path)
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (d *demo) get(ctx context.Context, client *http.Client, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+d.depotURL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return resp.Body, nil
}
