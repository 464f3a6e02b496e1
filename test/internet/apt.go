package internet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/test/lab/layout"
	"naru/test/lab/yum"
)

// apt publishes a Debian-like distribution, its packages for all architectures.
func (m *maker) apt(ctx context.Context, key *yum.Distribution, d *manifest.Distribution, names []string) error {
	for i, s := range d.Sources {
		list := names
		if i > 0 {
			list = nil
		}
		var index strings.Builder
		for _, name := range list {
			deb, err := debOf(name)
			if err != nil {
				return err
			}
			at := "pool/" + name + "_1.0-1_all.deb"
			if err := m.publish(s.URL+"/"+at, deb); err != nil {
				return err
			}
			fmt.Fprintf(&index, "Package: %s\nVersion: 1.0-1\nArchitecture: all\nMaintainer: lab\nFilename: %s\nSize: %d\nSHA256: %s\nDescription: lab\n\n",
				name, at, len(deb), digest.FromBytes(deb).Encoded())
		}
		if err := m.suite(ctx, key, s, index.String()); err != nil {
			return err
		}
	}
	return nil
}

// suite publishes the signed metadata of a source; the packages are in its first
// section.
func (m *maker) suite(ctx context.Context, key *yum.Distribution, s manifest.PackageSource, packages string) error {
	dists := s.URL + "/dists/" + s.Suite + "/"
	var sums strings.Builder
	for i, section := range s.Sections {
		for _, arch := range []string{"amd64", "arm64"} {
			text := packages
			if i > 0 {
				text = ""
			}
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			_, err := io.WriteString(w, text)
			if err := errors.Join(err, w.Close()); err != nil {
				return err
			}
			for name, data := range map[string][]byte{"Packages": []byte(text), "Packages.gz": z.Bytes()} {
				at := section + "/binary-" + arch + "/" + name
				sum := digest.FromBytes(data).Encoded()
				fmt.Fprintf(&sums, " %s %d %s\n", sum, len(data), at)
				for _, p := range []string{at, section + "/binary-" + arch + "/by-hash/SHA256/" + sum} {
					if err := m.publish(dists+p, data); err != nil {
						return err
					}
				}
			}
		}
	}
	release := fmt.Sprintf("Origin: lab\nSuite: %s\nCodename: %s\nDate: %s\nAcquire-By-Hash: yes\nArchitectures: amd64 arm64\nComponents: %s\nSHA256:\n%s",
		s.Suite, s.Suite, time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC).Format(time.RFC1123), strings.Join(s.Sections, " "), sums.String())
	signed, err := key.ClearSign(ctx, []byte(release))
	if err != nil {
		return err
	}
	return m.publish(dists+"InRelease", signed)
}

// debOf is a package without files.
func debOf(name string) ([]byte, error) {
	control := fmt.Sprintf("Package: %s\nVersion: 1.0-1\nArchitecture: all\nMaintainer: lab\nDescription: lab\n", name)
	tarGz := func(files map[string]string) ([]byte, error) {
		var buf bytes.Buffer
		err := layout.Gzipped(&buf, func(w io.Writer) error {
			tw := tar.NewWriter(w)
			for _, n := range sortedKeys(files) {
				if err := layout.AddFile(tw, n, 0o644, int64(len(files[n])), strings.NewReader(files[n])); err != nil {
					return err
				}
			}
			return tw.Close()
		})
		return buf.Bytes(), err
	}
	c, err := tarGz(map[string]string{"control": control})
	if err != nil {
		return nil, err
	}
	d, err := tarGz(map[string]string{"usr/share/doc/" + name + "/copyright": "lab\n"})
	if err != nil {
		return nil, err
	}
	var deb bytes.Buffer
	deb.WriteString("!<arch>\n")
	for _, member := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", c}, {"data.tar.gz", d}} {
		fmt.Fprintf(&deb, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", member.name, layout.Epoch().Unix(), 0, 0, "100644", len(member.data))
		deb.Write(member.data)
		if len(member.data)%2 == 1 {
			deb.WriteByte('\n')
		}
	}
	return deb.Bytes(), nil
}
