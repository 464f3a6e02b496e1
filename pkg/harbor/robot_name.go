package harbor

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// RobotName is what the name of one of naru's robots says, after Harbor's own prefix:
// "naru-<site>-<role>-<serial>". Robots of several sites on one Harbor are told apart by
// it, so that none takes another's for its own.
type RobotName struct {
	// Site whose robot it is; empty for one that was made before names told of it.
	Site string
	Role Role
	// Serial tells the robots of a site and role apart; it counts from 1.
	Serial int
}

// robotPrefix begins the name of each of naru's robots, after Harbor's own prefix.
const robotPrefix = "naru-"

// siteRE is what a site may be called: a DNS label, as in the site file.
var siteRE = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

// ErrSiteName says that robots cannot bear the name of a site.
var ErrSiteName = errors.New("it is no name of a site: want lower-case letters, digits and -, at most 63")

// ValidSite tells whether robots can bear the name of a site.
func ValidSite(name string) bool { return siteRE.MatchString(name) }

// Harbor takes no two separators in a row; a label may have them ("xn--..."). A number
// between dots, which no label has, stands for that many.
var (
	dashesRE = regexp.MustCompile(`-{2,}`)
	dottedRE = regexp.MustCompile(`\.([0-9]{1,2})\.`)
)

// String is the name without Harbor's prefix.
func (n RobotName) String() string {
	tail := fmt.Sprintf("%s-%d", n.Role, n.Serial)
	if n.Site == "" {
		return robotPrefix + tail
	}
	site := dashesRE.ReplaceAllStringFunc(n.Site, func(run string) string { return "." + strconv.Itoa(len(run)) + "." })
	return robotPrefix + site + "-" + tail
}

// ParseRobotName reads the name of one of naru's robots, with Harbor's prefix, whatever
// that is, or without. It is false for robots of others.
func ParseRobotName(name string) (RobotName, bool) {
	for at := 0; ; {
		i := strings.Index(name[at:], robotPrefix)
		if i < 0 {
			return RobotName{}, false
		}
		at += i + len(robotPrefix)
		if n, ok := parseRobotName(name[at:]); ok {
			return n, true
		}
	}
}

// parseRobotName reads "[<site>-]<role>-<serial>", from the right: a site may be called
// as a role is.
func parseRobotName(text string) (n RobotName, ok bool) {
	text, serial, _ := cutLast(text)
	site, role, named := cutLast(text)
	if !named {
		site, role = "", text
	}
	n.Serial, _ = strconv.Atoi(serial)
	n.Role = Role(role)
	n.Site = dottedRE.ReplaceAllStringFunc(site, func(run string) string {
		count, _ := strconv.Atoi(strings.Trim(run, "."))
		return strings.Repeat("-", count)
	})
	if n.Serial < 1 || strconv.Itoa(n.Serial) != serial || !slices.Contains(Roles(), n.Role) || named && !ValidSite(n.Site) {
		return RobotName{}, false
	}
	return n, true
}

// cutLast cuts at the last dash.
func cutLast(text string) (before, after string, found bool) {
	i := strings.LastIndexByte(text, '-')
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

// NextSerial is the serial of a further robot of a site and role.
func NextSerial(robots []Robot, site string, role Role) int {
	next := 1
	for _, r := range robots {
		if n, ok := ParseRobotName(r.Name); ok && n.Site == site && n.Role == role {
			next = max(next, n.Serial+1)
		}
	}
	return next
}
