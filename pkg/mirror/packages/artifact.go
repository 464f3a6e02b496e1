package packages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/mirror"
)

// Set is what is carried of a distribution on one platform.
type Set struct {
	Request
	Locked *manifest.LockedPackages
}

// ErrNoSet says that an artifact was asked for out of nothing.
var ErrNoSet = errors.New("making the artifact of packages: nothing given")

// Artifact makes the OCI artifact of a component's packages, out of one set a
// platform. The result depends on the sets alone.
func (c *Carrier) Artifact(ctx context.Context, component *manifest.ComponentSpec, sets []Set) (*mirror.Artifact, error) {
	var parts []mirror.Part
	for _, s := range sets {
		list := s.Locked.Of(component.ID)
		if len(list) == 0 {
			continue
		}
		config := s.config()
		config.Component, config.Version = component.ID, component.Version
		config.Names = component.PackagesFor(s.Distribution.ID, s.Platform)
		part := mirror.Part{Platform: s.Platform}
		for _, p := range list {
			at := manifest.TreePath(s.Distribution.Family, p.Source, s.Arch, p.Path)
			config.Packages = append(config.Packages, manifest.ConfigPackage{Name: p.Name, Version: p.Version, Arch: p.Arch, Path: at, Digest: p.Digest, Size: p.Size})
			part.Layers = append(part.Layers, layer(at, p.Digest, p.Size))
		}
		if err := part.SetConfig(config); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return nil, ErrNoSet
	}
	return c.mirror.PackParts(ctx, mirror.Pack{
		Ref:             fmt.Sprintf("naru/packages/%s/%s:%s", sets[0].Distribution.ID, component.ID, mirror.FileTag(component.Version)),
		ArtifactType:    manifest.PackagesArtifactType,
		ConfigMediaType: manifest.PackagesConfigMediaType,
		Parts:           parts,
	})
}

// Metadata makes the OCI artifact of a distribution's metadata, out of one set a
// platform. The keyrings that verify it are part of it.
func (c *Carrier) Metadata(ctx context.Context, sets []Set) (*mirror.Artifact, error) {
	if len(sets) == 0 {
		return nil, ErrNoSet
	}
	var parts []mirror.Part
	for _, s := range sets {
		part, err := c.metadata(ctx, s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, *part)
	}
	return c.mirror.PackParts(ctx, mirror.Pack{
		Ref:             fmt.Sprintf("naru/metadata/%s:%s", sets[0].Distribution.ID, snapshot(sets)),
		ArtifactType:    manifest.MetadataArtifactType,
		ConfigMediaType: manifest.PackagesConfigMediaType,
		Parts:           parts,
	})
}

func (c *Carrier) metadata(ctx context.Context, s Set) (*mirror.Part, error) {
	config := s.config()
	part := &mirror.Part{Platform: s.Platform}
	var keyrings []string
	for _, source := range s.Sources() {
		locked := s.Locked.Source(source.Name)
		if locked == nil {
			return nil, fmt.Errorf("packing the metadata of %q: source %q is not locked", s.Distribution.ID, source.Name)
		}
		config.Sources = append(config.Sources, manifest.ConfigPackageSource{
			Name: source.Name, URL: locked.URL, Suite: locked.Suite, Sections: locked.Sections, Keyring: source.Keyring,
			Digest: locked.Digest, Date: locked.Date, Signer: locked.Signer,
			Root: manifest.TreeRoot(s.Distribution.Family, source.Name, s.Arch),
		})
		for _, f := range locked.Files {
			part.Layers = append(part.Layers, layer(manifest.TreePath(s.Distribution.Family, source.Name, s.Arch, f.Path), f.Digest, f.Size))
		}
		keyrings = append(keyrings, source.Keyring)
	}
	slices.Sort(keyrings)
	for _, name := range slices.Compact(keyrings) {
		data, err := s.Keyring(name)
		if err != nil {
			return nil, err
		}
		if data, err = armoured(data); err != nil {
			return nil, fmt.Errorf("packing keyring %q: %w", name, err)
		}
		d, err := c.store.PutBytes(ctx, data)
		if err != nil {
			return nil, err
		}
		part.Layers = append(part.Layers, layer("keyrings/"+name+".asc", d, int64(len(data))))
	}
	return part, part.SetConfig(config)
}

// config is what both artifacts say.
func (s Set) config() manifest.PackagesConfig {
	d := s.Distribution
	return manifest.PackagesConfig{Distribution: d.ID, Title: d.Title, Family: d.Family, OS: d.OS, Versions: d.Versions, Platform: s.Platform, Arch: s.Arch}
}

func layer(title string, d digest.Digest, size int64) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: manifest.PackagesLayerMediaType, Digest: d, Size: size, Annotations: map[string]string{ocispec.AnnotationTitle: title}}
}

// snapshot names a state of a distribution: the day its newest source was signed, and
// a digest over all of them.
func snapshot(sets []Set) string {
	h := sha256.New()
	day := ""
	for _, s := range sets {
		for _, source := range s.Locked.Sources {
			_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\n", s.Platform, source.Name, source.URL, source.Digest) // hashes do not fail
			date, _, _ := strings.Cut(source.Date, "T")
			day = max(day, strings.ReplaceAll(date, "-", ""))
		}
	}
	name := hex.EncodeToString(h.Sum(nil))[:12]
	if day != "" {
		name = day + "-" + name
	}
	return name
}
