// Package lint looks a release over before anybody builds it: everything that can be
// known without the network, and, with a folder of charts, what they render to. All
// findings come at once, each with its place.
package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"naru/manifest"
)

// Severity says what a finding means.
type Severity string

// Errors must be mended; warnings are what could not be looked at or should be known
// before a build; notes are for those who decide what a site takes.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Finding is one thing found.
type Finding struct {
	Severity Severity `json:"severity"`
	// Rule is its stable name; docs/lint.md says what each wants.
	Rule string `json:"rule"`
	File string `json:"file"`
	// Line and Column count from 1; 0 where the file as such is meant.
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	Component string `json:"component,omitempty"`
	Message   string `json:"message"`
}

// String is "file:line:column: severity: message [rule]".
func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
	}
	return fmt.Sprintf("%s: %s: %s [%s]", at, f.Severity, f.Message, f.Rule)
}

// Report is the result.
type Report struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"` // "LintReport"
	Release    string    `json:"release"`
	Components int       `json:"components"`
	Findings   []Finding `json:"findings"`
	// Rendered counts the steps and charts that rendered, Missing those whose chart or
	// file is not in the folder; both are 0 without a folder.
	Rendered int `json:"rendered"`
	Missing  int `json:"missing"`
	// Images counts those found in what rendered.
	Images int `json:"images"`
}

// Count is the number of findings of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// FailedError says that there are findings that must be mended.
type FailedError struct {
	Release string
	Errors  int
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("linting release %q: %d errors", e.Release, e.Errors)
}

// Options say what is looked at.
type Options struct {
	Releases fs.FS
	Release  string
	// Charts is a folder of charts and manifests (see Folder); empty to render none.
	Charts string
}

// linter is the state of one run.
type linter struct {
	set    *manifest.ReleaseSet
	report *Report
	places map[string]*manifest.Places // by component
}

// rules look at every component by itself.
var rules = []struct {
	name string
	look func(*linter, *manifest.ComponentSpec, reporter)
}{
	{"floating-tag", (*linter).floatingTags},
	{"explained", (*linter).explained},
	{"platforms", (*linter).platforms},
	{"runtime", (*linter).runtime},
	{"license", (*linter).license},
	{"template", (*linter).templates},
	{"order", (*linter).order},
}

// reporter takes a finding of one rule about one component.
type reporter func(s Severity, path, format string, args ...any)

// Run lints a release. The error says that there is nothing to look at; findings are
// no error, see Report.Count.
func Run(ctx context.Context, o Options) (*Report, error) {
	set, err := manifest.LoadRelease(o.Releases, o.Release)
	var none *manifest.NoReleaseError
	if errors.As(err, &none) || set == nil {
		return nil, err
	}
	l := &linter{set: set, places: map[string]*manifest.Places{},
		report: &Report{APIVersion: manifest.APIVersion, Kind: "LintReport", Release: o.Release, Findings: []Finding{}}}
	l.schema(o.Release, err)
	for _, id := range set.Components {
		c := set.Specs[id]
		if c == nil {
			continue // its file is wrong, which schema told
		}
		l.report.Components++
		file := path.Join(o.Release, "components", id+".yaml")
		l.places[id] = manifest.ReadPlaces(file, set.Raw["components/"+id+".yaml"])
		for _, rule := range rules {
			rule.look(l, c, l.reporter(rule.name, id))
		}
	}
	l.profiles(o.Release)
	l.pins(o.Release)
	if o.Charts != "" {
		if err := l.render(ctx, o.Charts); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(l.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.report, nil
}

func (l *linter) reporter(rule, component string) reporter {
	return func(s Severity, path, format string, args ...any) {
		e := l.places[component].Errorf(path, format, args...)
		l.add(Finding{Severity: s, Rule: rule, File: e.File, Line: e.Line, Column: e.Column, Component: component, Message: e.Msg})
	}
}

func (l *linter) add(f Finding) {
	if !slices.Contains(l.report.Findings, f) {
		l.report.Findings = append(l.report.Findings, f)
	}
}

// schema takes the mistakes that loading found: grammar, fields, references that are
// not fully qualified, requires that are not closed or go in a circle.
func (l *linter) schema(release string, err error) {
	for _, e := range flatten(err) {
		f := Finding{Severity: Error, Rule: "schema", File: release, Message: e.Error()}
		var at *manifest.SourceError
		if errors.As(e, &at) {
			f.File, f.Line, f.Column, f.Message = at.File, at.Line, at.Column, at.Msg
		}
		l.add(f)
	}
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}
