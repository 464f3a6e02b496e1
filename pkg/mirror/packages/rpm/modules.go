package rpm

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Modules is the modular metadata of repositories: which packages belong to which
// stream, and which streams are the defaults.
//
// dnf takes packages of a default stream without being asked, hides packages
// outside of modules that have the name of one of them, and takes those of other
// streams only where the host enabled them. A closure is for hosts as they come:
// default streams only, whose own requirements on other modules are met by
// defaults.
type Modules struct {
	streams  []*stream
	defaults map[string]string // stream by module
}

// stream is one modulemd document: a version and context of a module's stream.
type stream struct {
	name, stream, context, arch string
	version                     uint64
	requires                    []map[string][]string // alternatives; stream lists by module
	rpms                        []string              // NEVRAs
	demodularized               []string
}

func (s *stream) String() string { return s.name + ":" + s.stream }

// maxModuleDocs bounds the documents of one modules.yaml.
const maxModuleDocs = 100_000

// modulemd is a document of modules.yaml, of any of its kinds.
type modulemd struct {
	Document string `yaml:"document"`
	Version  int    `yaml:"version"`
	Data     struct {
		// modulemd
		Name         string    `yaml:"name"`
		Stream       yaml.Node `yaml:"stream"` // 1.10 is a string here
		Version      uint64    `yaml:"version"`
		Context      string    `yaml:"context"`
		Arch         string    `yaml:"arch"`
		Dependencies yaml.Node `yaml:"dependencies"`
		Artifacts    struct {
			RPMs []string `yaml:"rpms"`
		} `yaml:"artifacts"`
		Demodularized struct {
			RPMs []string `yaml:"rpms"`
		} `yaml:"demodularized"`
		// modulemd-defaults
		Module string `yaml:"module"`
	} `yaml:"data"`
}

// ReadModules reads unpacked modules.yaml and adds what it says to m.
func (m *Modules) ReadModules(r io.Reader) error {
	dec := yaml.NewDecoder(r)
	for n := 0; ; n++ {
		var doc modulemd
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if n > maxModuleDocs {
			err = fmt.Errorf("more than %d documents", maxModuleDocs)
		}
		if err != nil {
			return fmt.Errorf("reading modules.yaml, document %d: %w", n+1, err)
		}
		if err := m.add(&doc); err != nil {
			return fmt.Errorf("reading modules.yaml, document %d: %w", n+1, err)
		}
	}
}

func (m *Modules) add(doc *modulemd) error {
	d := &doc.Data
	switch doc.Document {
	case "modulemd-defaults":
		if m.defaults == nil {
			m.defaults = map[string]string{}
		}
		if d.Stream.Value != "" {
			m.defaults[d.Module] = d.Stream.Value
		}
	case "modulemd":
		if d.Name == "" || d.Stream.Value == "" {
			return fmt.Errorf("module %q has no name or no stream", d.Name)
		}
		requires, err := moduleRequires(&d.Dependencies, doc.Version)
		if err != nil {
			return fmt.Errorf("module %q: %w", d.Name, err)
		}
		m.streams = append(m.streams, &stream{name: d.Name, stream: d.Stream.Value, context: d.Context, arch: d.Arch,
			version: d.Version, requires: requires, rpms: d.Artifacts.RPMs, demodularized: d.Demodularized.RPMs})
	}
	return nil // obsoletes, translations and what is newer choose no packages
}

// moduleRequires reads dependencies: a list of alternatives in version 2, one
// mapping of module to stream in version 1.
func moduleRequires(node *yaml.Node, version int) ([]map[string][]string, error) {
	if node.Kind == 0 {
		return nil, nil
	}
	if version < 2 {
		var v1 struct {
			Requires map[string]string `yaml:"requires"`
		}
		if err := node.Decode(&v1); err != nil {
			return nil, err
		}
		one := map[string][]string{}
		for name, s := range v1.Requires {
			one[name] = []string{s}
		}
		return []map[string][]string{one}, nil
	}
	var v2 []struct {
		Requires map[string][]string `yaml:"requires"`
	}
	if err := node.Decode(&v2); err != nil {
		return nil, err
	}
	var out []map[string][]string
	for _, d := range v2 {
		out = append(out, d.Requires)
	}
	return out, nil
}

// choice is what modules mean for the packages of an architecture.
type choice struct {
	// active and inactive hold the NEVRAs of packages of streams, by their stream.
	active, inactive map[string]string
	// hidden are names that packages outside of modules must not have.
	hidden map[string]string
	notes  []string
}

// choose settles which streams are active: the newest version of each context of
// a default stream whose requirements on modules are met by active ones.
func (m *Modules) choose(arch string) *choice {
	c := &choice{active: map[string]string{}, inactive: map[string]string{}, hidden: map[string]string{}}
	candidates := m.newestDefaults(arch)
	for again := true; again; {
		on := map[string]bool{}
		for _, s := range candidates {
			on[s.String()] = true
		}
		kept := slices.DeleteFunc(slices.Clone(candidates), func(s *stream) bool { return !s.met(on) })
		again, candidates = len(kept) < len(candidates), kept
	}
	active := map[*stream]bool{}
	for _, s := range candidates {
		active[s] = true
		for _, nevra := range s.rpms {
			c.active[nevra] = s.String()
			if name := nevraName(nevra); name != "" {
				c.hidden[name] = s.String()
			}
		}
	}
	for _, s := range candidates {
		for _, name := range s.demodularized {
			delete(c.hidden, name)
		}
	}
	for _, s := range m.streams {
		for _, nevra := range s.rpms {
			if c.active[nevra] == "" {
				c.inactive[nevra] = s.String()
			}
		}
	}
	c.note(m.defaults, candidates)
	return c
}

// newestDefaults are the newest versions of each context of the default streams.
func (m *Modules) newestDefaults(arch string) []*stream {
	newest := map[string]*stream{}
	for _, s := range m.streams {
		if m.defaults[s.name] != s.stream || (s.arch != "" && s.arch != arch) {
			continue
		}
		key := s.String() + ":" + s.context
		if old := newest[key]; old == nil || s.version > old.version {
			newest[key] = s
		}
	}
	var out []*stream
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		out = append(out, newest[key])
	}
	return out
}

// met tells whether one of the alternatives that a stream requires is among the
// streams that are on. "platform" is the distribution itself.
func (s *stream) met(on map[string]bool) bool {
	if len(s.requires) == 0 {
		return true
	}
	return slices.ContainsFunc(s.requires, func(alternative map[string][]string) bool {
		for name, streams := range alternative {
			if name != "platform" && !streamOn(on, name, streams) {
				return false
			}
		}
		return true
	})
}

// streamOn tells whether a module is on in one of the streams, all of them where
// the list is empty, or in none of those with a minus sign.
func streamOn(on map[string]bool, name string, streams []string) bool {
	wanted := slices.ContainsFunc(streams, func(s string) bool { return !strings.HasPrefix(s, "-") })
	for full := range on {
		module, stream, _ := strings.Cut(full, ":")
		if module != name || slices.Contains(streams, "-"+stream) {
			continue
		}
		if !wanted || slices.Contains(streams, stream) {
			return true
		}
	}
	return false
}

func (c *choice) note(defaults map[string]string, active []*stream) {
	on := map[string]bool{}
	for _, s := range active {
		on[s.String()] = true
	}
	if len(on) > 0 {
		c.notes = append(c.notes, "module streams taken, as their defaults: "+strings.Join(slices.Sorted(maps.Keys(on)), " "))
	}
	var off []string
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if full := name + ":" + defaults[name]; !on[full] {
			off = append(off, full)
		}
	}
	if len(off) > 0 {
		c.notes = append(c.notes, "default module streams left out, for lack of what they require: "+strings.Join(off, " "))
	}
}

// admits tells whether a package is a candidate, and notes the module it is of.
func (c *choice) admits(p *Package) bool {
	nevra := p.NEVRA()
	if s, ok := c.active[nevra]; ok {
		p.Module = s
		return true
	}
	if s, ok := c.inactive[nevra]; ok {
		p.Module = s
		return false
	}
	return c.hidden[p.Name] == ""
}

// nevraName is the name of "name-epoch:version-release.arch".
func nevraName(nevra string) string {
	i := strings.LastIndexByte(nevra, '-')
	if i < 0 {
		return ""
	}
	if i = strings.LastIndexByte(nevra[:i], '-'); i < 0 {
		return ""
	}
	return nevra[:i]
}
