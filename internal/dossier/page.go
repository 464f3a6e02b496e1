package dossier

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// maxFindings bounds the findings that the page lists; the tables have all.
const maxFindings = 400

// page is what the template sees.
type page struct {
	*Document
	T    texts
	Lang Lang
	CSS  template.CSS
	Bars []bar
	// Packages and Others are the assets, in two tables.
	Packages, Others []Asset
	// Serious are the open findings that are critical or high, More how many of them
	// are not listed.
	Serious []Finding
	More    int
}

// Page is the dossier as one HTML page that needs nothing else: no script, no
// font, no image is fetched. It is laid out for A4.
func (d *Document) Page(lang Lang) ([]byte, error) {
	p := page{Document: d, T: lang.texts(), Lang: lang, CSS: template.CSS(pageCSS)} //nolint:gosec // the style sheet is ours
	p.Bars = bars(d.Components, p.T)
	for _, a := range d.Assets {
		if a.Kind == KindPackage || a.Kind == KindMetadata {
			p.Packages = append(p.Packages, a)
		} else {
			p.Others = append(p.Others, a)
		}
	}
	for _, f := range d.Scan.Findings {
		if f.State == manifest.StateOpen && f.Severity.AtLeast(manifest.SeverityHigh) {
			p.Serious = append(p.Serious, f)
		}
	}
	if len(p.Serious) > maxFindings {
		p.More = len(p.Serious) - maxFindings
		p.Serious = p.Serious[:maxFindings]
	}
	t, err := template.New("page").Option("missingkey=error").Funcs(functions).Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("making the dossier: %w", err)
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, p); err != nil {
		return nil, fmt.Errorf("making the dossier: %w", err)
	}
	return buf.Bytes(), nil
}

var functions = template.FuncMap{
	"bytes": sizeText, "digits": digits, "sprintf": fmt.Sprintf, "join": strings.Join,
	"hex":   func(d digest.Digest) string { return d.Encoded() },
	"rows":  severityRows,
	"fours": fours,
	"dict": func(t texts, c Change) any {
		return struct {
			T texts
			C Change
		}{t, c}
	},
}

// fours splits a fingerprint into groups of four characters, which can be read
// aloud and compared.
func fours(s string) []string {
	s = strings.TrimPrefix(s, "sha256:")
	var out []string
	for group := range slices.Chunk([]byte(s), 4) {
		out = append(out, string(group))
	}
	return out
}

// sizeText is a size for people: three digits and a decimal unit.
func sizeText(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}

// digits groups a number by thousands.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// severityRow is a line of the table of findings by severity.
type severityRow struct {
	Severity                                                          manifest.Severity
	Open, Accepted, NotAffected, Misconfigurations, Secrets, Licenses int
}

func severityRows(t manifest.ScanTotals) []severityRow {
	var out []severityRow
	for _, s := range manifest.Severities() {
		of := func(c manifest.SeverityCounts) int {
			return map[manifest.Severity]int{
				manifest.SeverityCritical: c.Critical, manifest.SeverityHigh: c.High, manifest.SeverityMedium: c.Medium,
				manifest.SeverityLow: c.Low, manifest.SeverityUnknown: c.Unknown,
			}[s]
		}
		out = append(out, severityRow{s, of(t.Open), of(t.Accepted), of(t.NotAffected), of(t.Misconfigurations), of(t.Secrets), of(t.Licenses)})
	}
	return out
}

// bar is one line of the picture of sizes.
type bar struct {
	Label string
	Size  int64
	// Percent is the width, of the largest.
	Percent float64
}

// maxBars is how many components the picture names.
const maxBars = 16

func bars(components []Component, t texts) []bar {
	sorted := slices.Clone(components)
	slices.SortStableFunc(sorted, func(a, b Component) int {
		switch {
		case a.Size > b.Size:
			return -1
		case a.Size < b.Size:
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	var out []bar
	var rest int64
	for i, c := range sorted {
		if i < maxBars {
			out = append(out, bar{Label: c.ID, Size: c.Size})
		} else {
			rest += c.Size
		}
	}
	if n := len(sorted) - maxBars; n > 0 {
		out = append(out, bar{Label: fmt.Sprintf(t["others"], n), Size: rest})
	}
	var largest int64 = 1
	for _, b := range out {
		largest = max(largest, b.Size)
	}
	for i := range out {
		out[i].Percent = float64(out[i].Size) / float64(largest) * 100
	}
	return out
}
