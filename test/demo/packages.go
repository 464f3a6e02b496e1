package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"naru/manifest"
)

// hostPackages are the OS packages that the demo release asks for.
func hostPackages() ([]string, error) {
	release, err := manifest.LoadRelease(manifest.EmbeddedReleases(), "demo")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range release.Specs {
		names = append(names, c.PackagesFor("debian-12", "linux/amd64")...)
	}
	return names, nil
}

// pullPackages fetches every OS package and index from the depot's apt tree, at the
// paths that apt would ask for, and hashes it.
func (d *demo) pullPackages(ctx context.Context) (string, error) {
	transport, err := d.transport()
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: transport}
	sources, err := d.get(ctx, client, "/apt/debian-12/naru.sources")
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(sources)
	if err := errors.Join(err, sources.Close()); err != nil {
		return "", err
	}
	stanzas := strings.Count(string(text), "\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n")
	packages, bytes := 0, int64(0)
	for _, a := range d.list {
		if a.Kind != "package" {
			continue
		}
		// "https://deb.lab.test/debian-security/pool/..." is /apt/debian-12/security/pool/...
		_, path, _ := strings.Cut(a.Source, "/pool/")
		root := "main"
		if strings.Contains(a.Source, "/debian-security/") {
			root = "security"
		}
		at := "/apt/debian-12/" + root + "/pool/" + strings.ReplaceAll((&url.URL{Path: path}).EscapedPath(), "+", "%2b")
		size, err := d.samePackage(ctx, client, at, a.Digest)
		if err != nil {
			return "", err
		}
		packages++
		bytes += size
	}
	if packages == 0 || stanzas != 3 {
		return "", fmt.Errorf("%d packages, %d signed sources in naru.sources, want 3", packages, stanzas)
	}
	return fmt.Sprintf("%d packages, %d MB, every digest right; naru.sources has %d signed sources", packages, bytes>>20, stanzas), nil
}

func (d *demo) samePackage(ctx context.Context, client *http.Client, path, digest string) (int64, error) {
	body, err := d.get(ctx, client, path)
	if err != nil {
		return 0, err
	}
	h := sha256.New()
	n, err := io.Copy(h, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return 0, err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return 0, fmt.Errorf("%s is %s in the depot, the lock says %s", path, got, digest)
	}
	return n, nil
}
