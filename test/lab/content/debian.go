package content

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/test/lab/cache"
	"naru/test/lab/layout"
)

// deb is a fetched package.
type deb struct {
	layout.Package
	file string
}

// debs fetches the packages of d, or finds them in the cache, sorted by name.
func (b *builder) debs(ctx context.Context, d *Debian) ([]deb, error) {
	key, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	dir := filepath.Join(b.cache, "debs", shortHash(key))
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		names := slices.Clone(d.All)
		for _, p := range d.Packages {
			for _, arch := range d.Arches {
				names = append(names, p+":"+arch)
			}
		}
		b.step("fetching " + strings.Join(names, " "))
		err := cache.Fill(dir, func(tmp string) error { return b.aptDownload(ctx, d.Arches, names, tmp) })
		if err != nil {
			return nil, fmt.Errorf("fetching Debian packages: %w", err)
		}
	}
	return readDebs(ctx, dir)
}

// aptDownload fetches packages into dir. It uses the machine's sources and keys
// with package lists of its own, so that it needs no root and no foreign
// architecture to be set up.
func (b *builder) aptDownload(ctx context.Context, arches, names []string, dir string) error {
	apt := filepath.Join(b.cache, "apt")
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, d), 0o755); err != nil {
			return err
		}
	}
	opts := []string{
		"-qq",
		"-o", "Dir::State::Lists=" + filepath.Join(apt, "lists"),
		"-o", "Dir::Cache=" + filepath.Join(apt, "cache"),
		"-o", "Debug::NoLocking=true",
		"-o", "APT::Sandbox::User=root", // never dropped to: the folders are the caller's
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"-o", "Acquire::Retries=3",
	}
	for _, a := range arches {
		opts = append(opts, "-o", "APT::Architectures::="+a)
	}
	run := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", append(slices.Clone(opts), args...)...)
		cmd.Dir = dir
		_, err := runTool(cmd)
		return err
	}
	// A source that has nothing to do with this may fail to update: only the
	// download decides.
	updateErr := run("update")
	if err := run(append([]string{"download"}, names...)...); err != nil {
		return errors.Join(err, updateErr)
	}
	return nil
}

func readDebs(ctx context.Context, dir string) ([]deb, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, err
	}
	var out []deb
	for _, file := range files {
		fields, err := toolOutput(ctx, "dpkg-deb", "--show", "--showformat=${Package}\n${Version}\n${Architecture}", file)
		if err != nil {
			return nil, err
		}
		f := strings.Split(fields, "\n")
		if len(f) != 3 {
			return nil, fmt.Errorf("reading %q: control data %q", file, fields)
		}
		sum, err := fileDigest(file)
		if err != nil {
			return nil, err
		}
		out = append(out, deb{layout.Package{Name: f[0], Version: f[1], Architecture: f[2], SHA256: sum.Encoded()}, file})
	}
	slices.SortFunc(out, func(a, b deb) int { return strings.Compare(a.Name+a.Architecture, b.Name+b.Architecture) })
	return out, nil
}

func fileDigest(file string) (digest.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	d, err := digest.FromReader(f)
	if err != nil {
		return "", fmt.Errorf("hashing %q: %w", file, err)
	}
	return d, nil
}

// forArch are the packages that go on a machine of the architecture.
func forArch(debs []deb, arch string) []deb {
	var out []deb
	for _, d := range debs {
		if d.Architecture == arch || d.Architecture == "all" {
			out = append(out, d)
		}
	}
	return out
}

// addDebs appends the content of packages to a tar, as dpkg would unpack it.
func addDebs(ctx context.Context, tw *tar.Writer, debs []deb) error {
	seen := map[string]bool{}
	for _, d := range debs {
		if err := addDeb(ctx, tw, d.file, seen); err != nil {
			return fmt.Errorf("unpacking %s: %w", d.Name, err)
		}
		if err := addStatus(ctx, tw, d, seen); err != nil {
			return fmt.Errorf("recording %s: %w", d.Name, err)
		}
	}
	return nil
}

// addStatus records a package as installed, in a file of its own as distroless images
// have it, by which scanners know it.
func addStatus(ctx context.Context, tw *tar.Writer, d deb, seen map[string]bool) error {
	control, err := toolOutput(ctx, "dpkg-deb", "--info", d.file, "control")
	if err != nil {
		return err
	}
	name := "var/lib/dpkg/status.d/" + d.Name
	if err := layout.AddDirs(tw, seen, name); err != nil {
		return err
	}
	seen[name] = true
	data := control + "\n"
	return layout.AddFile(tw, name, 0o644, int64(len(data)), strings.NewReader(data))
}

func addDeb(ctx context.Context, tw *tar.Writer, file string, seen map[string]bool) error {
	r, w := io.Pipe()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	cmd.Stdout = w
	var tool errgroup.Group
	tool.Go(func() error {
		_, err := runTool(cmd)
		return errors.Join(err, w.CloseWithError(err))
	})
	err := copyTar(tw, tar.NewReader(r), seen)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // padding behind the end of the archive
	}
	_ = r.CloseWithError(err) // ends dpkg-deb if it still writes
	return errors.Join(err, tool.Wait())
}

// copyTar copies entries with the paths that layers have and without what seen
// holds already.
func copyTar(tw *tar.Writer, tr *tar.Reader, seen map[string]bool) error {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		entry := &tar.Header{
			Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode,
			ModTime: h.ModTime, Format: tar.FormatPAX,
		}
		switch h.Typeflag {
		case tar.TypeDir:
			entry.Name += "/"
		case tar.TypeLink:
			entry.Linkname = strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
		}
		if err := tw.WriteHeader(entry); err != nil {
			return err
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return err
		}
	}
}
