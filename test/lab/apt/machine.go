package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
)

// source is a suite of Debian, where this machine has it and where the lab does.
type source struct{ suite, site, lab string }

// machineSources asks apt where it has the suites of Debian 12.
func machineSources(ctx context.Context) ([]source, error) {
	out, err := indexTargets(ctx)
	if err == nil && strings.TrimSpace(out) == "" { // no lists were ever fetched
		if msg, err := exec.CommandContext(ctx, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("updating apt's lists: %w: %s", err, msg)
		}
		out, err = indexTargets(ctx)
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "main" {
			found[f[1]] = strings.TrimSuffix(f[0], "/")
		}
	}
	var list []source
	for _, suite := range []string{"bookworm", "bookworm-updates", "bookworm-security"} {
		site := found[suite]
		if site == "" {
			return nil, fmt.Errorf("asking apt for its sources: suite %s is not among them; the lab needs Debian 12", suite)
		}
		name := "debian"
		if strings.HasSuffix(suite, "-security") {
			name = "debian-security"
		}
		list = append(list, source{suite: suite, site: site, lab: "https://" + path.Join(Host, name)})
	}
	return list, nil
}

func indexTargets(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking apt for its sources: %w: %s", err, stderr.String())
	}
	return string(out), nil
}

// fetcher is a packages.Files over HTTP that keeps content in memory.
type fetcher struct{ blobs map[digest.Digest][]byte }

// get opens a URL.
func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("getting %q: status %d", url, resp.StatusCode), resp.Body.Close())
	}
	return resp.Body, nil
}

// Fetch implements packages.Files.
func (f *fetcher) Fetch(ctx context.Context, url string, want digest.Digest) (digest.Digest, int64, error) {
	if data, ok := f.blobs[want]; ok {
		return want, int64(len(data)), nil
	}
	var buf bytes.Buffer
	if err := f.copy(ctx, url, want, &buf); err != nil {
		return "", 0, err
	}
	d := digest.FromBytes(buf.Bytes())
	f.blobs[d] = buf.Bytes()
	return d, int64(buf.Len()), nil
}

// copy writes what a URL serves, which has the digest wanted if one is.
func (f *fetcher) copy(ctx context.Context, url string, want digest.Digest, to io.Writer) error {
	body, err := get(ctx, url)
	if err != nil {
		return err
	}
	dig := digest.Canonical.Digester()
	_, err = io.Copy(io.MultiWriter(to, dig.Hash()), body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("getting %q: %w", url, err)
	}
	if got := dig.Digest(); want != "" && got != want {
		return fmt.Errorf("getting %q: it is %s, want %s", url, got, want)
	}
	return nil
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// Open implements packages.Files.
func (f *fetcher) Open(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	data, ok := f.blobs[d]
	if !ok {
		return nil, fmt.Errorf("opening %s: it was not fetched", d)
	}
	return memory{bytes.NewReader(data)}, nil
}
