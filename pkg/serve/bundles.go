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

// Refused is a bundle that was to be served and is left out.
type Refused struct {
	// Name tells it apart from others without Bundle; Bundle is its digest as far as it
	// is known, which nobody vouches for.
	Name   string        `json:"name"`
	Bundle digest.Digest `json:"bundle,omitempty"`
	Reason string        `json:"reason"`
}

// state is what /bundles answers.
type state struct {
	Bundles   []bundleInfo `json:"bundles"`
	Refused   []Refused    `json:"refused"`
	Conflicts []Conflict   `json:"conflicts"`
}

// health is what /healthz answers, with 200 also where bundles are left out: a load
// balancer that turned away from the depot would take the others from the nodes.
type health struct {
	Status  string `json:"status"`
	Refused int    `json:"refused,omitempty"`
}

func healthOf(refused int) health {
	if refused > 0 {
		return health{Status: "incomplete", Refused: refused}
	}
	return health{Status: "ok"}
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
