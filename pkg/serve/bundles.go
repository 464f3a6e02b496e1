package serve

import (
	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// bundleInfo is what /bundles says of one bundle.
type bundleInfo struct {
	Digest     digest.Digest        `json:"digest,omitempty"`
	Release    string               `json:"release,omitempty"`
	Profile    string               `json:"profile,omitempty"`
	Components []string             `json:"components,omitempty"`
	Platforms  []string             `json:"platforms,omitempty"`
	Created    string               `json:"created,omitempty"`
	Verdict    manifest.ScanVerdict `json:"scanVerdict,omitempty"`
	Base       digest.Digest        `json:"base,omitempty"`
	// Artifacts counts the entries of the bundle's index.
	Artifacts int `json:"artifacts"`
}

func describe(contents []Content) []bundleInfo {
	list := make([]bundleInfo, 0, len(contents))
	for _, c := range contents {
		info := bundleInfo{Artifacts: len(c.Index().Manifests)}
		if d, ok := c.(Described); ok {
			if b := d.Bundle(); b != nil {
				info.Digest = d.BundleDigest()
				info.Release, info.Profile, info.Components = b.Release, b.Profile, b.Components
				info.Platforms, info.Created = b.Platforms, b.Created
				info.Verdict, info.Base = b.Scan.Verdict, b.Base
			}
		}
		list = append(list, info)
	}
	return list
}
