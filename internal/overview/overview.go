// Package overview says what a selection of components comes to, for people who decide
// about it: systems, licences, ends of life, sizes as far as they are known, and the
// hosts that a proxy must let through.
package overview

import (
	"slices"

	"naru/manifest"
)

// Component is one system.
type Component struct {
	ID        string   `json:"id"`
	Title     string   `json:"title,omitempty"`
	Version   string   `json:"version"`
	License   string   `json:"license,omitempty"`
	Upstream  string   `json:"upstream,omitempty"`
	EndOfLife string   `json:"endOfLife,omitempty"`
	Requires  []string `json:"requires,omitempty"`
	Images    []string `json:"images,omitempty"`
	Charts    []string `json:"charts,omitempty"`
	Files     []string `json:"files,omitempty"`
	// Packages are names of OS packages, by distribution.
	Packages map[string][]string `json:"packages,omitempty"`
	// PulledInBy is the component that requires it, where nobody asked for it.
	PulledInBy string `json:"pulledInBy,omitempty"`
	// Supply is "user" where the user brings the content, SupplyNote what that is.
	Supply     string `json:"supply,omitempty"`
	SupplyNote string `json:"supplyNote,omitempty"`
	Size       Size   `json:"size"`
	// RuntimePulls and PhoneHome as the component answers them.
	RuntimePulls []manifest.RuntimePull `json:"-"`
	PhoneHome    []manifest.PhoneHome   `json:"-"`
	Note         string                 `json:"note,omitempty"`
}

// Size is what the lock knows of the bytes to carry.
type Size struct {
	// Known is in bytes, over the selected platforms; layers that images share are
	// counted with each.
	Known int64 `json:"knownBytes"`
	// Unknown counts the artifacts whose size nothing says yet.
	Unknown int `json:"unknown"`
}

// Add is the sum of two sizes.
func (s Size) Add(o Size) Size { return Size{s.Known + o.Known, s.Unknown + o.Unknown} }

// Of lists the components of a selection, in install order. lock may be nil.
func Of(sel *manifest.Selection, lock *manifest.Lock) []Component {
	if lock == nil {
		lock = manifest.NewLock("")
	}
	var out []Component
	for _, c := range sel.Components {
		o := Component{ID: c.ID, Title: c.Title, Version: c.Version, License: c.License, Upstream: c.Upstream, EndOfLife: c.EndOfLife,
			Requires: c.Requires, PulledInBy: sel.Pulled[c.ID], Supply: string(c.Supply), SupplyNote: c.SupplyNote,
			RuntimePulls: c.RuntimePulls, PhoneHome: c.PhoneHome, Note: c.Note}
		for _, img := range c.Images {
			o.Images = append(o.Images, img.Ref)
			o.Size = o.Size.Add(imageSize(lock.Image(img.Ref), sel.Platforms, img.Platforms))
		}
		for _, ch := range c.Charts {
			o.Charts = append(o.Charts, ch.Name+" "+ch.Version)
			o.Size = o.Size.Add(chartSize(lock, c.ID, ch))
		}
		for _, f := range c.Files {
			o.Files = append(o.Files, f.Name)
			o.Size = o.Size.Add(fileSize(lock, sel.Platforms, f))
		}
		for _, d := range sel.Distributions {
			for _, p := range sel.Platforms {
				if names := c.PackagesFor(d.ID, p); len(names) > 0 {
					if o.Packages == nil {
						o.Packages = map[string][]string{}
					}
					o.Packages[d.ID] = names
				}
			}
		}
		out = append(out, o)
	}
	return out
}

// Total is the sum over components.
func Total(list []Component) Size {
	var sum Size
	for _, c := range list {
		sum = sum.Add(c.Size)
	}
	return sum
}

func imageSize(locked *manifest.LockedImage, selected, own []string) Size {
	if locked == nil {
		return Size{Unknown: 1}
	}
	var s Size
	for _, p := range locked.Platforms {
		if p.Content > 0 && slices.Contains(selected, p.Platform) && (len(own) == 0 || slices.Contains(own, p.Platform)) {
			s.Known += p.Content
		}
	}
	if s.Known == 0 {
		s.Unknown = 1
	}
	return s
}

func chartSize(lock *manifest.Lock, component string, c manifest.Chart) Size {
	for _, l := range lock.Charts {
		if l.Component == component && l.Name == c.Name && l.Version == c.Version && l.Size > 0 {
			return Size{Known: l.Size}
		}
	}
	return Size{Unknown: 1}
}

func fileSize(lock *manifest.Lock, selected []string, f manifest.File) Size {
	var s Size
	for _, src := range f.Sources {
		if src.Platform != "" && !slices.Contains(selected, src.Platform) {
			continue
		}
		i := slices.IndexFunc(lock.Files, func(l manifest.LockedFile) bool { return l.URL == src.URL && l.Size > 0 })
		if i < 0 {
			s.Unknown++
			continue
		}
		s.Known += lock.Files[i].Size
	}
	return s
}
