package lint

import (
	"regexp"
	"slices"
	"strings"

	"naru/manifest"
)

// spdx are the SPDX identifiers of licences that a component may have. One that is
// not here is looked at before it is added.
const spdx = `0BSD AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BlueOak-1.0.0 BSD-2-Clause
		BSD-3-Clause BSL-1.0 BUSL-1.1 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 curl Elastic-2.0 EPL-1.0 EPL-2.0 GPL-1.0-or-later
		GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later ICU ISC LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later
		LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MPL-1.1 MPL-2.0 MPL-2.0-no-copyleft-exception MulanPSL-2.0 NCSA OFL-1.1 OpenSSL PostgreSQL PSF-2.0
		Python-2.0 Ruby SSPL-1.0 Unicode-3.0 Unlicense UPL-1.0 Vim W3C WTFPL X11 Zlib ZPL-2.1`

func known(id string) bool { return slices.Contains(strings.Fields(spdx), id) }

// restrictive are those among them that forbid what a site might do with the program;
// a bundle carries it and shows the licence.
var restrictive = map[string]string{
	"BUSL-1.1":      "production use that competes with the vendor is not allowed",
	"Elastic-2.0":   "it may not be offered to others as a service",
	"SSPL-1.0":      "whoever offers it as a service publishes the whole service",
	"AGPL-3.0-only": "whoever changes it and lets others use it over a network publishes the changes",
}

// named are licences that SPDX has no identifier for: what they are, and whether
// the program may be redistributed.
var named = map[string]struct {
	text           string
	redistribution bool
}{
	"LicenseRef-distribution":       {"the licences of the distribution's packages", true},
	"LicenseRef-Teleport-Community": {"Teleport Community Edition, for small organisations", false},
	"LicenseRef-Lens":               {"Lens, proprietary", false},
	"LicenseRef-proprietary":        {"proprietary", false},
}

// termRE splits an SPDX expression.
var termRE = regexp.MustCompile(`[()]|\s+`)

// license wants an SPDX expression over licences that are known, and the user's own
// supply where redistribution is not allowed.
func (l *linter) license(c *manifest.ComponentSpec, report reporter) {
	if c.License == "" {
		report(Error, "", "component %q states no licence", c.ID)
		return
	}
	operator := true // what comes first is a licence
	for _, term := range termRE.Split(c.License, -1) {
		switch {
		case term == "":
			continue
		case term == "AND" || term == "OR" || term == "WITH":
			if operator {
				report(Error, "license", "licence %q is no SPDX expression", c.License)
			}
			operator = true
			continue
		case !operator:
			report(Error, "license", "licence %q is no SPDX expression: AND, OR or WITH stands between licences", c.License)
			return
		}
		operator = false
		l.term(c, term, report)
	}
	if operator {
		report(Error, "license", "licence %q is no SPDX expression", c.License)
	}
}

// term looks at one licence, or exception, of an expression.
func (l *linter) term(c *manifest.ComponentSpec, term string, report reporter) {
	if n, ok := named[term]; ok {
		if !n.redistribution && c.Supply != manifest.SupplyUser {
			report(Error, "license", "%s (%s) may not be redistributed: supply: user and a supplyNote say what the user puts where", term, n.text)
		}
		return
	}
	if strings.HasSuffix(term, "-exception") || strings.HasSuffix(term, "-exception-2.0") {
		return
	}
	if !known(strings.TrimSuffix(term, "+")) {
		report(Error, "license", "licence %q is none that is known here: use its SPDX identifier, or add it to internal/lint", term)
	}
	if why := restrictive[term]; why != "" {
		report(Note, "license", "%s restricts use: %s", term, why)
	}
}
