package deb

import (
	"errors"
	"fmt"
	"strings"
)

// ErrRelation is wrapped by errors about the form of a relation.
var ErrRelation = errors.New("malformed relation")

// Relation is one alternative of a dependency: "name:arch (>= version)".
type Relation struct {
	Name string
	// Arch is the qualifier, "any", "native" or an architecture; empty if none.
	Arch string
	// Op is one of << <= = >= >> or empty when any version will do.
	Op, Version string
}

func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	return s
}

// Allows tells whether a version meets the relation.
func (r Relation) Allows(version string) bool {
	if r.Op == "" {
		return true
	}
	c := CompareVersions(version, r.Version)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case ">=":
		return c >= 0
	case ">>":
		return c > 0
	}
	return c == 0
}

// Group are alternatives of which one must be met.
type Group []Relation

func (g Group) String() string {
	parts := make([]string, len(g))
	for i, r := range g {
		parts[i] = r.String()
	}
	return strings.Join(parts, " | ")
}

// ParseRelations reads the value of a field such as Depends, see deb-control(5).
func ParseRelations(value string) ([]Group, error) {
	var out []Group
	for _, item := range strings.Split(value, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue // dpkg allows a comma too many
		}
		var group Group
		for _, alternative := range strings.Split(item, "|") {
			r, err := parseRelation(strings.TrimSpace(alternative))
			if err != nil {
				return nil, fmt.Errorf("parsing relation %q: %w", item, err)
			}
			group = append(group, r)
		}
		out = append(out, group)
	}
	return out, nil
}

func parseRelation(s string) (Relation, error) {
	var r Relation
	end := strings.IndexAny(s, " \t\n(")
	if end < 0 {
		end = len(s)
	}
	r.Name, r.Arch, _ = strings.Cut(s[:end], ":")
	if !isName(r.Name) || strings.HasSuffix(s[:end], ":") || r.Arch != "" && !isName(r.Arch) {
		return r, fmt.Errorf("%w: %q is no package name", ErrRelation, s[:end])
	}
	rest := strings.TrimSpace(s[end:])
	if rest == "" {
		return r, nil
	}
	inner, tail, ok := strings.Cut(strings.TrimPrefix(rest, "("), ")")
	if rest[0] != '(' || !ok || strings.TrimSpace(tail) != "" {
		return r, fmt.Errorf("%w: want NAME (OP VERSION)", ErrRelation)
	}
	inner = strings.TrimSpace(inner)
	r.Version = strings.TrimSpace(strings.TrimLeft(inner, "<=>"))
	op := strings.TrimSpace(strings.TrimSuffix(inner, r.Version))
	switch op {
	case "<<", "<=", "=", ">=", ">>":
		r.Op = op
	case "<", ">": // what they meant before dpkg 1.4
		r.Op = op + "="
	default:
		return r, fmt.Errorf("%w: %q is no comparison", ErrRelation, op)
	}
	if r.Version == "" || strings.ContainsAny(r.Version, " \t\n()<>=") {
		return r, fmt.Errorf("%w: %q is no version", ErrRelation, r.Version)
	}
	return r, nil
}

// isName tells what may be a package's name: also what dpkg would refuse to build but
// archives have.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
		if !alnum && (i == 0 || !strings.ContainsRune("+-._", rune(c))) {
			return false
		}
	}
	return s != ""
}
