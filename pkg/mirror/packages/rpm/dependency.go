package rpm

import "strings"

// Sense is how a dependency compares versions: a sum of the three, or 0 for any
// version.
type Sense uint8

// The comparisons of a dependency.
const (
	Less Sense = 1 << iota
	Greater
	Equal
)

// String is the operator, as in a spec file.
func (s Sense) String() string {
	return [...]string{"", "<", ">", "<>", "=", "<=", ">=", "<=>"}[s&7]
}

// Dependency is a capability that a package provides, requires, conflicts with or
// obsoletes: a name or path, perhaps with versions.
type Dependency struct {
	Name  string
	Sense Sense
	EVR   EVR
}

// String is the dependency as in a spec file.
func (d Dependency) String() string {
	if d.Sense == 0 {
		return d.Name
	}
	return d.Name + " " + d.Sense.String() + " " + d.EVR.String()
}

// File tells a dependency on a path.
func (d Dependency) File() bool { return strings.HasPrefix(d.Name, "/") }

// Rich tells a boolean dependency, "(a or b)".
func (d Dependency) Rich() bool { return strings.HasPrefix(d.Name, "(") }

// ofRPM tells a dependency on the package manager itself, which the host's meets.
func (d Dependency) ofRPM() bool { return strings.HasPrefix(d.Name, "rpmlib(") }

// Overlaps tells whether the ranges of versions of two dependencies of one name
// have a version in common, as rpm decides it. One without a version overlaps all.
func (d Dependency) Overlaps(other Dependency) bool {
	if d.Name != other.Name {
		return false
	}
	if d.Sense == 0 || other.Sense == 0 || d.EVR.Version == "" || other.EVR.Version == "" {
		return true
	}
	switch c := d.EVR.compareDependency(other.EVR); {
	case c < 0:
		return d.Sense&Greater != 0 || other.Sense&Less != 0
	case c > 0:
		return d.Sense&Less != 0 || other.Sense&Greater != 0
	}
	return d.Sense&other.Sense != 0
}

// parseSense reads the flags attribute of repository metadata; what it does not
// know, ok tells.
func parseSense(flags string) (s Sense, ok bool) {
	switch flags {
	case "":
		return 0, true
	case "LT":
		return Less, true
	case "LE":
		return Less | Equal, true
	case "EQ":
		return Equal, true
	case "GE":
		return Greater | Equal, true
	case "GT":
		return Greater, true
	}
	return 0, false
}

// parseOperator reads the operator of a rich dependency.
func parseOperator(op string) (s Sense, ok bool) {
	switch op {
	case "<":
		return Less, true
	case "<=", "=<":
		return Less | Equal, true
	case "=", "==":
		return Equal, true
	case ">=", "=>":
		return Greater | Equal, true
	case ">":
		return Greater, true
	}
	return 0, false
}
