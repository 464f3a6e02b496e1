package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"naru/manifest"
	"naru/pkg/bootstrap"
)

// Status is how a site stands.
type Status struct {
	Cluster string        `json:"cluster"`
	Hosts   []HostStatus  `json:"hosts"`
	Bundles []DepotBundle `json:"bundles"`
	// Drift lists what is not as the site file says.
	Drift []string `json:"drift"`
}

// HostStatus is how one host stands.
type HostStatus struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
	// State is "ready", "not ready", "no node" or "unreachable", with the reason.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	OS     string `json:"os,omitempty"`
	// Versions of the programs that run there.
	Kubelet    string `json:"kubelet,omitempty"`
	Containerd string `json:"containerd,omitempty"`
	// Units are naru's services there, by state.
	Units map[string]string `json:"units,omitempty"`
	// CertificateEnds is the earliest end of a certificate on the host, RFC 3339, and
	// CertificateFile whose it is.
	CertificateEnds string `json:"certificateEnds,omitempty"`
	CertificateFile string `json:"certificateFile,omitempty"`
}

// GetStatus looks at every host of a site. Hosts that cannot be reached are part of
// the answer, not an error.
func GetStatus(ctx context.Context, siteFile string) (*Status, error) {
	c, err := openSite(siteFile)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s := &Status{Cluster: c.Site.Name, Hosts: make([]HostStatus, len(c.Hosts))}
	var mu sync.Mutex
	drift := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		s.Drift = append(s.Drift, fmt.Sprintf(format, args...))
	}
	_ = c.onEach(ctx, func(ctx context.Context, i int, h *bootstrap.Host) error {
		s.Hosts[i] = c.hostStatus(ctx, h, drift)
		return nil
	})
	c.nodeStatus(ctx, s, drift)
	c.mirrorDrift(ctx, drift)
	c.bundleStatus(ctx, s, drift)
	slices.Sort(s.Drift)
	return s, ctx.Err()
}

// bundleStatus lists the bundles of the depots that can be reached, and what of them is
// not served.
func (c *Cluster) bundleStatus(ctx context.Context, s *Status, drift func(string, ...any)) {
	var err error
	if s.Bundles, err = c.listBundles(ctx); err != nil {
		drift("the depots: %v", shortly(err))
	}
	if err := c.tellServed(ctx, s.Bundles); err != nil {
		drift("the depots: %v", shortly(err))
	}
	for _, b := range s.Bundles {
		if b.NotServed != "" {
			drift("%s: the depot does not serve bundle %s: %s", b.Host, b.Bundle, b.NotServed)
		}
	}
}

// statusScript prints "key value" lines: units, versions, and the certificate that
// ends first. Certificates are read by their end, which their owner's tools print
// where they are there.
const statusScript = `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
( . /etc/os-release; echo "os $PRETTY_NAME" )
for u in containerd kubelet haproxy keepalived naru-depot chrony chronyd; do
  systemctl cat -- $u >/dev/null 2>&1 && echo "unit $u $(systemctl is-active $u 2>/dev/null)"
done
command -v kubelet >/dev/null && echo "kubelet $(kubelet --version | cut -d' ' -f2)"
command -v containerd >/dev/null && echo "containerd $(containerd --version | cut -d' ' -f3)"
for f in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet-client-current.pem /etc/naru/depot/tls.crt; do [ -e "$f" ] && echo "cert $f"; done
exit 0`

func (c *Cluster) hostStatus(ctx context.Context, h *bootstrap.Host, drift func(string, ...any)) HostStatus {
	s := HostStatus{Name: h.Name, Roles: h.Roles, State: "no node", Units: map[string]string{}}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := h.Script(ctx, statusScript)
	if err != nil {
		s.State, s.Reason = "unreachable", err.Error()
		drift("%s cannot be reached: %v", h.Name, err)
		return s
	}
	var certs []string
	for _, line := range strings.Split(out, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "os":
			s.OS = value
		case "unit":
			unit, state, _ := strings.Cut(value, " ")
			s.Units[unit] = state
		case "kubelet":
			s.Kubelet = strings.TrimPrefix(value, "v")
		case "containerd":
			s.Containerd = strings.TrimPrefix(value, "v")
		case "cert":
			certs = append(certs, value)
		}
	}
	for _, unit := range c.wantedUnits(h) {
		if s.Units[unit] != "active" {
			drift("%s: %s is %q", h.Name, unit, s.Units[unit])
		}
	}
	c.certificates(ctx, h, certs, &s, drift)
	return s
}

// wantedUnits are the services that should run on a host.
func (c *Cluster) wantedUnits(h *bootstrap.Host) []string {
	var out []string
	if h.Node() {
		out = append(out, "containerd", "kubelet")
	}
	if slices.ContainsFunc(c.Site.Balancers(), func(b *manifest.SiteHost) bool { return b.Name == h.Name }) {
		out = append(out, "haproxy")
		if c.Site.Endpoint.VIP != "" {
			out = append(out, "keepalived")
		}
	}
	if slices.ContainsFunc(c.Site.Depots(), func(b *manifest.SiteHost) bool { return b.Name == h.Name }) {
		out = append(out, "naru-depot")
	}
	return out
}

// renewSoon is how long before its end a certificate is drift.
const renewSoon = 30 * 24 * time.Hour

func (c *Cluster) certificates(ctx context.Context, h *bootstrap.Host, paths []string, s *HostStatus, drift func(string, ...any)) {
	var first time.Time
	for _, p := range paths {
		data, err := h.ReadFile(ctx, p)
		if err != nil {
			continue // gone meanwhile
		}
		for _, end := range certificateEnds(data) {
			if first.IsZero() || end.Before(first) {
				first, s.CertificateFile = end, p
			}
		}
	}
	if first.IsZero() {
		return
	}
	s.CertificateEnds = first.UTC().Format(time.RFC3339)
	if time.Until(first) < renewSoon {
		drift("%s: %s ends on %s", h.Name, s.CertificateFile, first.UTC().Format(time.DateOnly))
	}
}

// nodeStatus compares the cluster's nodes with the site file.
func (c *Cluster) nodeStatus(ctx context.Context, s *Status, drift func(string, ...any)) {
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		drift("the API server: %v", shortly(err))
		return
	}
	for _, n := range nodes {
		i := slices.IndexFunc(s.Hosts, func(h HostStatus) bool { return h.Name == n.Name })
		if i < 0 {
			drift("node %s is in the cluster and not in the site file", n.Name)
			continue
		}
		s.Hosts[i].State, s.Hosts[i].Reason = "ready", ""
		if !n.Ready {
			s.Hosts[i].State, s.Hosts[i].Reason = "not ready", n.Reason
			drift("node %s is not ready: %s", n.Name, n.Reason)
		}
		if n.Unschedulable {
			drift("node %s takes no new pods (cordoned)", n.Name)
		}
		if s.Hosts[i].Kubelet != "" && s.Hosts[i].Kubelet != n.Kubelet {
			drift("node %s runs kubelet %s, its program is %s", n.Name, n.Kubelet, s.Hosts[i].Kubelet)
		}
	}
	for _, h := range c.nodes() {
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == h.Name }) {
			drift("%s is in the site file and no node of the cluster", h.Name)
		}
	}
}

// shortly is err without what stands behind its first line.
func shortly(err error) error {
	first, _, more := strings.Cut(err.Error(), "\n")
	if more {
		return errors.New(first)
	}
	return err
}

// DriftError says that a site is not as its file says.
type DriftError struct{ Count int }

func (e *DriftError) Error() string {
	return fmt.Sprintf("looking at the site: %d things are not as the site file says", e.Count)
}
