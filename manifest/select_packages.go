package manifest

import (
	"errors"
	"maps"
	"slices"
)

// chooseDistributions takes the distributions that were asked for, else those of
// the release and of the content files.
func (s *Selection) chooseDistributions(set *ReleaseSet, contents []*Content, asked []string) error {
	known := map[string]*Distribution{}
	s.keyrings = map[string][]byte{}
	var ids []string
	if set != nil {
		maps.Copy(known, set.Systems)
		maps.Copy(s.keyrings, set.Keyrings)
		ids = append(ids, set.Distributions...)
	}
	for _, c := range contents {
		for i := range c.Systems {
			spec := c.Systems[i]
			known[spec.ID] = &Distribution{APIVersion: APIVersion, Kind: KindDistribution, DistributionSpec: spec}
		}
		for name, armoured := range c.Keyrings {
			s.keyrings[name] = []byte(armoured)
		}
		ids = append(ids, c.Distributions...)
	}
	if len(asked) > 0 {
		ids = slices.Clone(asked)
	}
	slices.Sort(ids)
	var errs []error
	for _, id := range slices.Compact(ids) {
		d := known[id]
		if d == nil {
			errs = append(errs, choicef("choosing distribution %q: there is none of that name%s", id, suggest(id, slices.Sorted(maps.Keys(known)))))
			continue
		}
		s.Distributions = append(s.Distributions, d)
	}
	return errors.Join(errs...)
}

// Keyring are the OpenPGP keys of a name, armoured or binary: those of a content
// file, of the release, or those that naru carries. The error is fs.ErrNotExist
// where there are none.
func (s *Selection) Keyring(name string) ([]byte, error) {
	if data, ok := s.keyrings[name]; ok {
		return data, nil
	}
	return Keyring(name)
}

// Roots are the packages that the selected components ask for on a distribution
// and platform, in install order; components that ask for none are left out.
func (s *Selection) Roots(distribution, platform string) []LockedRoots {
	var out []LockedRoots
	for _, c := range s.Components {
		if names := c.PackagesFor(distribution, platform); len(names) > 0 {
			out = append(out, LockedRoots{Component: c.ID, Names: names})
		}
	}
	return out
}
