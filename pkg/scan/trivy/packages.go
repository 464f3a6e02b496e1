//go:build goexperiment.jsonv2

package trivy

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"

	"naru/manifest"
	"naru/pkg/scan"
)

// Of a package only what describes it is read: of a .deb the control file, of a .rpm
// its headers. Trivy gets them as the files of a system would be: an entry of dpkg's
// status, a .rpm that ends after its headers.

// maxControl bounds the control file of a .deb and the headers of a .rpm, in bytes.
const maxControl = 64 << 20

// packageFamily is manifest.FamilyDeb or FamilyRPM by a file's name, or "".
func packageFamily(name string) manifest.Family {
	switch {
	case strings.HasSuffix(name, ".deb"):
		return manifest.FamilyDeb
	case strings.HasSuffix(name, ".rpm"):
		return manifest.FamilyRPM
	}
	return ""
}

// packageUnits are the packages of a target, and before them one that says which
// system they are for.
func (s *run) packageUnits(i int) []unit {
	t := &s.targets[i]
	var list []scan.Blob
	for _, b := range t.Blobs {
		if t.Kind != manifest.ArtifactImage && packageFamily(b.Name) != "" {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		return nil
	}
	out := make([]unit, 0, len(list))
	for _, b := range list {
		out = append(out, unit{id: fileID("package", b), size: b.Size, open: func(ctx context.Context) (io.ReadCloser, error) {
			return s.describePackage(ctx, b)
		}})
	}
	return out
}

// describePackage is a tar that describes one package.
func (s *run) describePackage(ctx context.Context, b scan.Blob) (io.ReadCloser, error) {
	r, err := s.opts.Blobs.OpenBlob(ctx, b.Digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	var name string
	var data []byte
	if packageFamily(b.Name) == manifest.FamilyDeb {
		name = "var/lib/dpkg/status.d/" + path.Base(b.Name)
		data, err = debStatus(r)
	} else {
		name = strings.TrimPrefix(b.Name, "/")
		data, err = rpmHead(r)
	}
	if err != nil {
		return nil, fmt.Errorf("reading package %q: %w", b.Name, err)
	}
	return wrapFile(scan.Blob{Name: name, Size: int64(len(data))}, nopCloser{bytes.NewReader(data)})
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// debStatus is the control file of a .deb, as an entry of dpkg's status.
func debStatus(r io.Reader) ([]byte, error) {
	control, err := debMember(r, "control.tar")
	if err != nil {
		return nil, err
	}
	plain, err := decompressed(io.NopCloser(control))
	if err != nil {
		return nil, err
	}
	defer func() { _ = plain.Close() }()
	tr := tar.NewReader(plain)
	for {
		h, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("looking for its control file: %w", err)
		}
		if path.Clean(h.Name) != "control" {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(tr, maxControl))
		if err != nil {
			return nil, err
		}
		return append([]byte("Status: install ok installed\n"), bytes.TrimLeft(data, "\n")...), nil
	}
}

// debMember finds a member of the ar archive that a .deb is, by the start of its name.
func debMember(r io.Reader, prefix string) (io.Reader, error) {
	const magic = "!<arch>\n"
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != magic {
		return nil, errors.New("not a .deb: it is no ar archive")
	}
	for {
		var h [60]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, fmt.Errorf("looking for %s: %w", prefix, err)
		}
		name := strings.TrimSpace(string(h[:16]))
		var size int64
		if _, err := fmt.Sscanf(strings.TrimSpace(string(h[48:58])), "%d", &size); err != nil || size < 0 {
			return nil, errors.New("not a .deb: a member has no size")
		}
		if strings.HasPrefix(name, prefix) {
			return io.LimitReader(r, size), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return nil, err
		}
	}
}

// rpmHead is a .rpm up to the end of its headers.
func rpmHead(r io.Reader) ([]byte, error) {
	const lead, intro = 96, 16
	var out bytes.Buffer
	take := func(n int64) ([]byte, error) {
		start := out.Len()
		if n < 0 || int64(start)+n > maxControl {
			return nil, errors.New("its headers are too large")
		}
		if _, err := io.CopyN(&out, r, n); err != nil {
			return nil, fmt.Errorf("reading its headers: %w", err)
		}
		return out.Bytes()[start:], nil
	}
	if _, err := take(lead); err != nil {
		return nil, err
	}
	for _, signature := range []bool{true, false} {
		h, err := take(intro)
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(h, []byte{0x8e, 0xad, 0xe8}) {
			return nil, errors.New("not a .rpm: a header has no magic number")
		}
		entries, store := int64(binary.BigEndian.Uint32(h[8:])), int64(binary.BigEndian.Uint32(h[12:]))
		n := entries*rpmEntry + store
		if signature {
			n += (8 - n%8) % 8
		}
		body, err := take(n)
		if err != nil {
			return nil, err
		}
		if err := checkHeader(body[:entries*rpmEntry], store); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// rpmEntry is the size of an entry of a .rpm header's index, in bytes.
const rpmEntry = 16

// checkHeader refuses an index whose entries point out of the header's store, which
// the library that Trivy reads headers with takes at their word.
func checkHeader(index []byte, store int64) error {
	sizes := []int64{0, 1, 1, 2, 4, 8, 1, 1, 1, 1} // of one value, by type
	for ; len(index) > 0; index = index[rpmEntry:] {
		kind, offset, count := binary.BigEndian.Uint32(index[4:]), int64(binary.BigEndian.Uint32(index[8:])), int64(binary.BigEndian.Uint32(index[12:]))
		if int(kind) >= len(sizes) || offset+count*sizes[kind] > store {
			return errors.New("not a .rpm: a header points out of itself")
		}
	}
	return nil
}

// systemKey is the cache key of a unit that names an operating system, for packages
// that do not lie in one.
func (s *run) systemKey(ctx context.Context, os scan.OS) (string, error) {
	key := digest.FromString("system " + os.Family + " " + os.Version).String()
	family := ftypes.OSType(os.Family)
	if own, ok := families[os.Family]; ok {
		family = own
	}
	return key, s.cache.PutBlob(ctx, key, ftypes.BlobInfo{SchemaVersion: ftypes.BlobJSONSchemaVersion, OS: ftypes.OS{Family: family, Name: os.Version}})
}

// families are Trivy's names of the systems that os-release(5) calls otherwise.
var families = map[string]ftypes.OSType{"almalinux": ftypes.Alma, "rhel": ftypes.RedHat, "ol": ftypes.Oracle, "amzn": ftypes.Amazon}

// What the version of a Debian package says of the release it was made for:
// 1.2-3+deb12u1, 1.2-1~debian.12~bookworm.
var debRelease = regexp.MustCompile(`[+~]deb(?:ian\.)?(\d+)`)

// system is the operating system that a target's packages are for. Where nobody says,
// the version of a .deb may.
func (s *run) system(ctx context.Context, i int) (scan.OS, error) {
	t := &s.targets[i]
	if t.OS.Family != "" {
		return t.OS, nil
	}
	for _, key := range s.keys[i] {
		info, err := s.cache.GetBlob(ctx, key)
		if err != nil {
			return scan.OS{}, err
		}
		for _, p := range info.PackageInfos {
			for _, pkg := range p.Packages {
				if m := debRelease.FindStringSubmatch(pkg.Version + "-" + pkg.Release); m != nil {
					return scan.OS{Family: string(ftypes.Debian), Version: m[1]}, nil
				}
			}
		}
	}
	return scan.OS{}, nil
}
