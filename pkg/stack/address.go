package stack

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// addressRE finds URLs that something may call. The brackets of an IPv6 address belong
// to it; others end it.
var addressRE = regexp.MustCompile(`(?i)\b(?:https?|grpcs?|wss?|ftp|git|ssh|oci|s3|ldaps?)://(?:\[[0-9a-f:.]+\][^\s"'<>\x60,;)\]}]*|[^\s"'<>\x60,;)\]}]+)`)

// values looks at what the steps give their charts.
func (s *sealer) values() error {
	for _, c := range s.Components {
		facts := s.Facts(c, sampleSecrets(c))
		for i := range c.Steps {
			step := &c.Steps[i]
			holds, err := facts.Applies(step)
			if err != nil {
				return err
			}
			if step.Chart == "" || !holds {
				continue
			}
			values, err := chart.Values(step, facts)
			if err != nil {
				return fmt.Errorf("reading the values of step %q of component %q: %w", step.Name, c.ID, err)
			}
			s.urls(fmt.Sprintf("values of step %s of component %s", step.Name, c.ID), "", values)
		}
	}
	return nil
}

// urls looks for addresses in every string of v. Comments lead nowhere.
func (s *sealer) urls(where, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			if k == "annotations" && path == ".metadata" {
				continue
			}
			s.urls(where, path+"."+k, v[k])
		}
	case []any:
		for i, item := range v {
			s.urls(where, fmt.Sprintf("%s[%d]", path, i), item)
		}
	case string:
		if !strings.Contains(v, "://") {
			return
		}
		for _, line := range strings.Split(v, "\n") {
			if t := strings.TrimSpace(line); strings.HasPrefix(t, "#") || strings.HasPrefix(t, "//") || strings.HasPrefix(t, ";") {
				continue
			}
			for _, u := range addressRE.FindAllString(line, -1) {
				s.address(u, where+", "+strings.TrimPrefix(path, "."))
			}
		}
	}
}

func (s *sealer) address(text, where string) {
	s.report.URLs++
	text = strings.TrimRight(text, ".:\\")
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return // a template: its host is filled in elsewhere
	}
	if s.ownHost(strings.ToLower(u.Hostname())) || s.allowed(text, u) {
		return
	}
	u.User = nil // may be a password
	s.note(FindingURL, u.String(), "it is neither of the site nor on the list of a component", where)
}

// ownHost tells a host of the site or of the cluster.
func (s *sealer) ownHost(host string) bool {
	if strings.ContainsAny(host, "${}%()*") {
		return true // a template
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() || s.ownAddress(host)
	}
	if !strings.Contains(host, ".") {
		return true // a service of the same namespace
	}
	for _, own := range append([]string{".svc", ".local", ".localhost", "." + s.facts.ClusterDomain, s.facts.Harbor.Host, s.facts.API.Host, "." + s.facts.Domain, s.facts.Domain}, s.Hosts...) {
		own = strings.ToLower(own)
		if own != "" && own != "." && (host == own || strings.HasPrefix(own, ".") && strings.HasSuffix(host, own)) {
			return true
		}
	}
	return slices.ContainsFunc(s.facts.Nodes, func(n manifest.NodeFacts) bool { return n.Name == host })
}

func (s *sealer) ownAddress(ip string) bool {
	return ip == s.facts.VIP || ip == s.facts.API.Host || slices.Contains(s.Hosts, ip) ||
		slices.ContainsFunc(s.facts.Nodes, func(n manifest.NodeFacts) bool { return n.Address == ip })
}

// allowed tells an address that a component has on its list.
func (s *sealer) allowed(text string, u *url.URL) bool {
	return slices.ContainsFunc(s.Components, func(c *manifest.ComponentSpec) bool {
		return slices.ContainsFunc(c.Allow, func(a manifest.Allowance) bool {
			if strings.Contains(a.URL, "://") {
				rest, ok := strings.CutPrefix(text, a.URL)
				return ok && (rest == "" || strings.HasSuffix(a.URL, "/") || strings.ContainsRune("/?#", rune(rest[0])))
			}
			host := strings.ToLower(u.Hostname())
			return host == a.URL || strings.HasSuffix(host, "."+a.URL)
		})
	})
}
