package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SelectOptions choose what of a release and of Content files a bundle carries.
type SelectOptions struct {
	// Profile is a profile's name; empty means the release's default.
	Profile string
	// With and Without add and take away components by id.
	With, Without []string
	// Platforms replaces those of the release.
	Platforms []string
	// Distributions are ids that replace those of the release and of content files.
	Distributions []string
}

// Selection is what a bundle carries: components closed over requires, in
// install order.
type Selection struct {
	// Name is that of the release, or of the content file when there is none.
	Name       string
	Profile    string
	Platforms  []string
	Components []*ComponentSpec
	// Distributions are those whose packages are carried, sorted by id.
	Distributions []*Distribution
	// Pulled maps each component that nobody asked for to one that requires it.
	Pulled map[string]string
	// Own are the components that came from content files.
	Own map[string]bool

	asked    []string // by flag
	keyrings map[string][]byte
}

// IDs are the selected components' ids in install order.
func (s *Selection) IDs() []string {
	ids := make([]string, len(s.Components))
	for i, c := range s.Components {
		ids[i] = c.ID
	}
	return ids
}

// ChoiceError says that what was asked for is not there to be chosen.
type ChoiceError struct{ Msg string }

func (e *ChoiceError) Error() string { return e.Msg }

func choicef(format string, args ...any) error {
	return &ChoiceError{Msg: fmt.Sprintf(format, args...)}
}

// Select chooses components of set, which is nil when contents are built alone,
// and of contents, whose components are always taken and replace those of the
// release by the same id.
func Select(set *ReleaseSet, contents []*Content, opts SelectOptions) (*Selection, error) {
	p, err := newPool(set, contents)
	if err != nil {
		return nil, err
	}
	sel := &Selection{Platforms: opts.Platforms, Pulled: map[string]string{}}
	var asked []string
	if set != nil {
		sel.Name, sel.Profile = set.Name, opts.Profile
		if sel.Profile == "" {
			sel.Profile = set.DefaultProfile
		}
		profile, err := set.profile(sel.Profile)
		if err != nil {
			return nil, err
		}
		asked = append(asked, profile.Components...)
		if len(sel.Platforms) == 0 {
			sel.Platforms = slices.Clone(set.Platforms)
		}
	} else if opts.Profile != "" {
		return nil, choicef("choosing profile %q: content files alone have no profiles, name a release", opts.Profile)
	}
	for _, c := range contents {
		if sel.Name == "" {
			sel.Name = c.Name
		}
		if set == nil && len(opts.Platforms) == 0 {
			sel.Platforms = append(sel.Platforms, c.Platforms...)
		}
	}
	sel.asked = opts.With
	sel.Own = map[string]bool{}
	for _, id := range p.own {
		sel.Own[id] = true
	}
	if err := sel.chooseDistributions(set, contents, opts.Distributions); err != nil {
		return nil, err
	}
	asked = append(asked, p.own...)
	asked = append(asked, opts.With...)
	return sel, sel.close(p, asked, opts.Without)
}

// pool is every component that can be chosen.
type pool struct {
	specs map[string]*ComponentSpec
	order []string
	// own are the ids that came from content files.
	own []string
}

func newPool(set *ReleaseSet, contents []*Content) (*pool, error) {
	p := &pool{specs: map[string]*ComponentSpec{}}
	if set != nil {
		for _, id := range set.Components {
			p.specs[id] = set.Specs[id]
			p.order = append(p.order, id)
		}
	}
	for _, c := range contents {
		for _, spec := range c.Specs() {
			if slices.Contains(p.own, spec.ID) {
				return nil, fmt.Errorf("adding component %q: two content files have it", spec.ID)
			}
			if p.specs[spec.ID] == nil {
				p.order = append(p.order, spec.ID)
			}
			p.specs[spec.ID] = &spec
			p.own = append(p.own, spec.ID)
		}
	}
	return p, checkRequires(p.specs)
}

// close takes asked without those in without, closes over requires and puts
// everything into install order.
func (s *Selection) close(p *pool, asked, without []string) error {
	var errs []error
	for _, id := range slices.Concat(asked, without) {
		if p.specs[id] == nil {
			errs = append(errs, choicef("choosing component %q: there is none of that name%s", id, suggest(id, slices.Clone(p.order))))
		}
	}
	for _, id := range s.asked {
		if slices.Contains(without, id) {
			errs = append(errs, choicef("choosing component %q: it is asked for and left out", id))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	chosen := map[string]bool{}
	var queue []string
	for _, id := range asked {
		if !slices.Contains(without, id) && !chosen[id] {
			chosen[id] = true
			queue = append(queue, id)
		}
	}
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		for _, need := range p.specs[id].Requires {
			if slices.Contains(without, need) {
				errs = append(errs, choicef("leaving out component %q: %q requires it", need, id))
			} else if !chosen[need] {
				chosen[need] = true
				s.Pulled[need] = id
				queue = append(queue, need)
			}
		}
	}
	s.order(p, chosen)
	if len(errs) == 0 && len(s.Platforms) == 0 {
		errs = append(errs, choicef("choosing platforms: none are named, by the release, a content file or a flag"))
	}
	if len(errs) == 0 && len(s.Components) == 0 {
		errs = append(errs, choicef("choosing components: nothing is selected"))
	}
	if _, err := ParsePlatforms(s.Platforms); err != nil {
		errs = append(errs, err)
	}
	slices.Sort(s.Platforms)
	s.Platforms = slices.Compact(s.Platforms)
	return errors.Join(errs...)
}

// order lists the chosen components in release order, each after what it requires.
func (s *Selection) order(p *pool, chosen map[string]bool) {
	done := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		if done[id] || !chosen[id] {
			return
		}
		done[id] = true
		for _, need := range p.specs[id].Requires {
			visit(need)
		}
		s.Components = append(s.Components, p.specs[id])
	}
	for _, id := range p.order {
		visit(id)
	}
}

func (s *ReleaseSet) profile(name string) (*Profile, error) {
	var names []string
	for i, p := range s.Profiles {
		if p.Name == name {
			return &s.Profiles[i], nil
		}
		names = append(names, p.Name)
	}
	return nil, choicef("choosing profile %q: release %q has %s%s", name, s.Name, strings.Join(names, ", "), suggest(name, names))
}

// checkRequires notes requirements on components that are not there and cycles.
func checkRequires(specs map[string]*ComponentSpec) error {
	var errs []error
	ids := mapKeys(specs)
	slices.Sort(ids)
	state := map[string]int{} // 1 on the current path, 2 finished
	var visit func(id string, trail []string)
	visit = func(id string, trail []string) {
		trail = append(trail, id)
		switch state[id] {
		case 1:
			errs = append(errs, fmt.Errorf("resolving requires: components require each other in a circle: %s", strings.Join(trail[slices.Index(trail, id):], " -> ")))
			return
		case 2:
			return
		}
		state[id] = 1
		for _, need := range specs[id].Requires {
			if specs[need] == nil {
				errs = append(errs, fmt.Errorf("resolving requires: component %q requires %q, which does not exist%s", id, need, suggest(need, slices.Clone(ids))))
				continue
			}
			visit(need, trail)
		}
		state[id] = 2
	}
	for _, id := range ids {
		visit(id, nil)
	}
	return errors.Join(errs...)
}
