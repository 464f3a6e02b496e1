package dossier

import (
	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// Changes is what differs from the previous bundle.
type Changes struct {
	Previous  digest.Digest `json:"previous"`
	Release   string        `json:"release"`
	Created   string        `json:"created"`
	Added     []Change      `json:"added,omitempty"`
	Removed   []Change      `json:"removed,omitempty"`
	Changed   []Change      `json:"changed,omitempty"`
	Unchanged int           `json:"unchanged"`
}

// Change is one asset that differs. Old is empty for one that was added, New for
// one that was removed; both are "version digest".
type Change struct {
	Kind     manifest.ArtifactKind `json:"kind"`
	Name     string                `json:"name"`
	Platform string                `json:"platform,omitempty"`
	Old      *State                `json:"old,omitempty"`
	New      *State                `json:"new,omitempty"`
}

// State is what an asset was or is.
type State struct {
	Version string        `json:"version,omitempty"`
	Digest  digest.Digest `json:"digest"`
	Size    int64         `json:"size"`
}

// assetKey names an asset across bundles. Two versions of one image in a bundle
// are told apart by the number of the occurrence.
type assetKey struct {
	kind           manifest.ArtifactKind
	name, platform string
	n              int
}

// keyed numbers the occurrences. Referrers have no name of their own and follow
// from their images: they are left out.
func keyed(assets []Asset) ([]assetKey, map[assetKey]*Asset) {
	seen := map[assetKey]int{}
	byKey := map[assetKey]*Asset{}
	var order []assetKey
	for i := range assets {
		a := &assets[i]
		if a.Kind == manifest.ArtifactReferrer {
			continue
		}
		k := assetKey{kind: a.Kind, name: a.Name, platform: a.Platform}
		seen[k]++
		k.n = seen[k]
		byKey[k] = a
		order = append(order, k)
	}
	return order, byKey
}

func newChanges(p *Previous, before, after []Asset) *Changes {
	c := &Changes{Previous: p.Digest, Release: p.Bundle.Release, Created: p.Bundle.Created}
	oldOrder, old := keyed(before)
	newOrder, now := keyed(after)
	for _, k := range newOrder {
		a, was := now[k], old[k]
		row := Change{Kind: k.kind, Name: k.name, Platform: k.platform, New: stateOf(a)}
		switch {
		case was == nil:
			c.Added = append(c.Added, row)
		case was.Digest != a.Digest:
			row.Old = stateOf(was)
			c.Changed = append(c.Changed, row)
		default:
			c.Unchanged++
		}
	}
	for _, k := range oldOrder {
		if now[k] == nil {
			c.Removed = append(c.Removed, Change{Kind: k.kind, Name: k.name, Platform: k.platform, Old: stateOf(old[k])})
		}
	}
	return c
}

func stateOf(a *Asset) *State { return &State{Version: a.Version, Digest: a.Digest, Size: a.Size} }
