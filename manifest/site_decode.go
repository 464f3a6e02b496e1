package manifest

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Defaults of a site file.
const (
	DefaultPodCIDR       = "10.244.0.0/16"
	DefaultServiceCIDR   = "10.96.0.0/16"
	DefaultClusterDomain = "cluster.local"
	DefaultDepotPort     = 5000
	DefaultDepotDir      = "/var/lib/naru/bundles"
	DefaultHarborPort    = 30003
	DefaultStorageClass  = "local-path"
)

// DecodeSite decodes and validates a site file, with its defaults set. All
// mistakes are returned at once, each a *SourceError.
func DecodeSite(file string, data []byte) (*Site, error) {
	s := Site{Raw: data}
	doc, err := decodeYAML(file, data, KindSite, &s)
	if err != nil {
		return nil, err
	}
	s.setDefaults()
	s.validate(doc)
	return &s, doc.err()
}

func (s *Site) setDefaults() {
	def := func(v *string, fallback string) {
		if *v == "" {
			*v = fallback
		}
	}
	defInt := func(v *int, fallback int) {
		if *v == 0 {
			*v = fallback
		}
	}
	def(&s.SSH.User, "root")
	defInt(&s.SSH.Port, 22)
	def(&s.Network.Pods, DefaultPodCIDR)
	def(&s.Network.Services, DefaultServiceCIDR)
	def(&s.Network.ClusterDomain, DefaultClusterDomain)
	defInt(&s.Depot.Port, DefaultDepotPort)
	def(&s.Depot.Dir, DefaultDepotDir)
	def(&s.Harbor.Mode, HarborInCluster)
	def(&s.Harbor.Host, "harbor."+s.Domain)
	defInt(&s.Harbor.NodePort, DefaultHarborPort)
	if s.Harbor.Mode == HarborInCluster && len(s.Balancers()) == 0 {
		defInt(&s.Harbor.Port, s.Harbor.NodePort)
	}
	defInt(&s.Harbor.Port, 443)
	def(&s.Storage.Class, DefaultStorageClass)
	if vip, err := netip.ParseAddr(s.Endpoint.VIP); err == nil && s.Endpoint.VirtualRouterID == 0 {
		b := vip.AsSlice()
		s.Endpoint.VirtualRouterID = max(int(b[len(b)-1]), 1)
	}
	jumps := []*SiteJump{s.SSH.Jump}
	for i := range s.Hosts {
		jumps = append(jumps, s.Hosts[i].SSH.Jump)
	}
	for _, j := range jumps {
		if j != nil {
			def(&j.User, "root")
			defInt(&j.Port, 22)
		}
	}
}

var (
	labelRE       = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	domainRE      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	fingerprintRE = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)
	taintRE       = regexp.MustCompile(`^[A-Za-z0-9._/-]+(=[A-Za-z0-9._-]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$`)
	diskRE        = regexp.MustCompile(`^/dev/[A-Za-z0-9/._:-]+$`)
	dirRE         = regexp.MustCompile(`^/[A-Za-z0-9/._-]+$`) // it stands in a systemd unit
	userRE        = regexp.MustCompile(`^[a-z_][a-z0-9_.-]*\$?$`)
)

func (s *Site) validate(doc *document) {
	if !labelRE.MatchString(s.Name) {
		doc.errorf("name", "name %q of the cluster: want lower-case letters, digits and -", s.Name)
	}
	if !domainRE.MatchString(s.Domain) {
		doc.errorf("domain", "domain %q: want a DNS domain in lower case, as in k8s.example.kr", s.Domain)
	}
	s.validateHosts(doc)
	s.validateSSH(doc, "ssh", &s.SSH)
	if len(s.SSH.Fingerprints) > 0 {
		doc.errorf("ssh.fingerprints", "fingerprints are of one host: give them there")
	}
	s.validateEndpoint(doc)
	s.validateNetwork(doc)
	for i, t := range s.TimeServers {
		if _, err := netip.ParseAddr(t); err != nil && !domainRE.MatchString(t) {
			doc.errorf(fmt.Sprintf("timeServers[%d]", i), "time server %q: want a name or an address", t)
		}
	}
	if (s.PKI.CAFile == "") != (s.PKI.CAKeyFile == "") {
		doc.errorf("pki", "caFile and caKeyFile are given together: certificates are made with them")
	}
	for i, n := range s.PKI.Networks {
		if p, err := netip.ParsePrefix(n); err != nil || p.Masked() != p {
			doc.errorf(fmt.Sprintf("pki.networks[%d]", i), "network %q: want a CIDR whose host bits are zero, as in 10.20.0.0/16", n)
		}
	}
	validatePort(doc, "depot.port", s.Depot.Port)
	if !dirRE.MatchString(s.Depot.Dir) || filepath.Clean(s.Depot.Dir) != s.Depot.Dir {
		doc.errorf("depot.dir", "dir %q: want a clean absolute path of letters, digits and . _ -", s.Depot.Dir)
	}
	s.validateHarbor(doc)
	for id := range s.Components.Values {
		if !idRE.MatchString(id) {
			doc.errorf("components.values", "component id %q is not a name", id)
		}
	}
	for _, id := range s.Components.With {
		if slices.Contains(s.Components.Without, id) {
			doc.errorf("components.without", "component %q is asked for and left out", id)
		}
	}
}

func (s *Site) validateHosts(doc *document) {
	if len(s.ControlPlanes()) == 0 {
		doc.errorf("hosts", "no host has the role %s", RoleControlPlane)
	}
	names, addresses := map[string]bool{}, map[string]bool{}
	local := 0
	for i := range s.Hosts {
		h := &s.Hosts[i]
		at := fmt.Sprintf("hosts[%d]", i)
		if !labelRE.MatchString(h.Name) {
			doc.errorf(at+".name", "host name %q: want a DNS label in lower case", h.Name)
		}
		if names[h.Name] {
			doc.errorf(at+".name", "host %q is listed twice", h.Name)
		}
		names[h.Name] = true
		addr, err := netip.ParseAddr(h.Address)
		if err != nil || addr.IsUnspecified() || (addr.IsLoopback() && !h.Local) {
			doc.errorf(at+".address", "address %q of host %q: want the IP address that other hosts reach it at", h.Address, h.Name)
		}
		if addresses[h.Address] {
			doc.errorf(at+".address", "address %q is that of two hosts", h.Address)
		}
		addresses[h.Address] = true
		if h.Local {
			local++
		}
		s.validateHost(doc, at, h)
	}
	if local > 1 {
		doc.errorf("hosts", "%d hosts are local: the installer runs on one", local)
	}
}

func (s *Site) validateHost(doc *document, at string, h *SiteHost) {
	if len(h.Roles) == 0 {
		doc.errorf(at+".roles", "host %q has no role: want some of %s", h.Name, strings.Join(Roles(), ", "))
	}
	for j, r := range h.Roles {
		if !slices.Contains(Roles(), r) {
			doc.errorf(fmt.Sprintf("%s.roles[%d]", at, j), "role %q: want one of %s%s", r, strings.Join(Roles(), ", "), suggest(r, Roles()))
		}
	}
	for j, t := range h.Taints {
		if !taintRE.MatchString(t) {
			doc.errorf(fmt.Sprintf("%s.taints[%d]", at, j), "taint %q: want key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute", t)
		}
	}
	for j, d := range h.Disks {
		if !diskRE.MatchString(d) {
			doc.errorf(fmt.Sprintf("%s.disks[%d]", at, j), "disk %q: want a block device below /dev", d)
		}
	}
	if (len(h.Labels) > 0 || len(h.Taints) > 0) && !h.Node() {
		doc.errorf(at, "host %q has labels or taints, and is no node", h.Name)
	}
	s.validateSSH(doc, at+".ssh", &h.SSH)
}

func (s *Site) validateSSH(doc *document, at string, o *SiteSSH) {
	check := func(at, user string, port int, passphrase *SecretRef, prints []string) {
		if user != "" && !userRE.MatchString(user) {
			doc.errorf(at+".user", "user %q is not a user name", user)
		}
		if port != 0 {
			validatePort(doc, at+".port", port)
		}
		if passphrase != nil {
			passphrase.validate(doc, at+".passphrase")
		}
		for i, f := range prints {
			if !fingerprintRE.MatchString(f) {
				doc.errorf(fmt.Sprintf("%s.fingerprints[%d]", at, i), "fingerprint %q: want SHA256:..., as ssh-keygen -lf prints it", f)
			}
		}
	}
	check(at, o.User, o.Port, o.Passphrase, o.Fingerprints)
	if j := o.Jump; j != nil {
		check(at+".jump", j.User, j.Port, j.Passphrase, j.Fingerprints)
		if _, err := netip.ParseAddr(j.Address); err != nil && !domainRE.MatchString(j.Address) {
			doc.errorf(at+".jump.address", "address %q of the jump host: want a name or an address", j.Address)
		}
	}
}

func (r *SecretRef) validate(doc *document, at string) {
	if (r.File == "") == (r.Env == "") {
		doc.errorf(at, "a secret is given by file or by env, one of them")
	}
}

func (s *Site) validateEndpoint(doc *document) {
	e := s.Endpoint
	if e.External != "" {
		if e.VIP != "" {
			doc.errorf("endpoint", "external and vip are two ways to do the same: give one")
		}
		if _, _, err := splitHostPort(e.External); err != nil {
			doc.errorf("endpoint.external", "external %q: want host:port", e.External)
		}
		if len(s.With(RoleLB)) > 0 {
			doc.errorf("endpoint.external", "hosts have the role lb, which an external load balancer leaves without work")
		}
		return
	}
	if e.VIP != "" {
		addr, err := netip.ParseAddr(e.VIP)
		if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
			doc.errorf("endpoint.vip", "vip %q: want an IP address", e.VIP)
		}
		for _, h := range s.Hosts {
			if h.Address == e.VIP {
				doc.errorf("endpoint.vip", "vip %q is the address of host %q: want one that no host has", e.VIP, h.Name)
			}
		}
		if e.VirtualRouterID < 0 || e.VirtualRouterID > 255 {
			doc.errorf("endpoint.virtualRouterID", "virtualRouterID %d: want 1 to 255", e.VirtualRouterID)
		}
	} else if len(s.With(RoleLB)) > 1 {
		doc.errorf("endpoint", "%d hosts have the role lb: they need a vip between them", len(s.With(RoleLB)))
	}
	for i, n := range e.Names {
		if _, err := netip.ParseAddr(n); err != nil && !domainRE.MatchString(n) {
			doc.errorf(fmt.Sprintf("endpoint.names[%d]", i), "name %q: want a DNS name or an address", n)
		}
	}
}

func (s *Site) validateNetwork(doc *document) {
	nets := map[string]netip.Prefix{}
	for field, cidr := range map[string]string{"network.pods": s.Network.Pods, "network.services": s.Network.Services} {
		p, err := netip.ParsePrefix(cidr)
		if err != nil || p.Masked() != p {
			doc.errorf(field, "network %q: want a CIDR whose host bits are zero, as in %s", cidr, DefaultPodCIDR)
			continue
		}
		nets[field] = p
		for _, h := range s.Hosts {
			if a, err := netip.ParseAddr(h.Address); err == nil && p.Contains(a) {
				doc.errorf(field, "network %s holds the address of host %q", cidr, h.Name)
			}
		}
	}
	if a, b := nets["network.pods"], nets["network.services"]; a.IsValid() && b.IsValid() && a.Overlaps(b) {
		doc.errorf("network", "pods %s and services %s overlap", a, b)
	}
	if !domainRE.MatchString(s.Network.ClusterDomain) {
		doc.errorf("network.clusterDomain", "clusterDomain %q is no DNS domain", s.Network.ClusterDomain)
	}
	for i, pool := range s.Network.AddressPools {
		if !validPool(pool) {
			doc.errorf(fmt.Sprintf("network.addressPools[%d]", i), "address pool %q: want a CIDR, or first-last", pool)
		}
	}
}

func validPool(pool string) bool {
	if _, err := netip.ParsePrefix(pool); err == nil {
		return true
	}
	first, last, ok := strings.Cut(pool, "-")
	a, err1 := netip.ParseAddr(first)
	b, err2 := netip.ParseAddr(last)
	return ok && err1 == nil && err2 == nil && a.Compare(b) <= 0
}

func (s *Site) validateHarbor(doc *document) {
	h := s.Harbor
	modes := []string{HarborInCluster, HarborExternal, HarborNone}
	if !slices.Contains(modes, h.Mode) {
		doc.errorf("harbor.mode", "mode %q: want one of %s%s", h.Mode, strings.Join(modes, ", "), suggest(h.Mode, modes))
	}
	if !domainRE.MatchString(h.Host) {
		doc.errorf("harbor.host", "host %q is no DNS name", h.Host)
	}
	if h.NodePort < 30000 || h.NodePort > 32767 {
		doc.errorf("harbor.nodePort", "nodePort %d: want 30000 to 32767", h.NodePort)
	}
	if h.Password != nil {
		h.Password.validate(doc, "harbor.password")
	}
	validatePort(doc, "harbor.port", h.Port)
	if _, err := netip.ParseAddr(h.Address); h.Address != "" && err != nil {
		doc.errorf("harbor.address", "address %q is no IP address", h.Address)
	}
	if h.Address != "" && h.Mode != HarborExternal {
		doc.errorf("harbor.address", "only an external Harbor has an address of its own")
	}
	if h.Mode == HarborInCluster && len(s.Balancers()) == 0 && h.Port != h.NodePort {
		doc.errorf("harbor.port", "port %d: without a load balancer Harbor answers at its nodePort, %d", h.Port, h.NodePort)
	}
	if h.Mode == HarborExternal && (h.User == "" || h.Password == nil) {
		doc.errorf("harbor", "an external Harbor needs user and password")
	}
}

func validatePort(doc *document, at string, port int) {
	if port < 1 || port > 65535 {
		doc.errorf(at, "port %d: want 1 to 65535", port)
	}
}

func splitHostPort(s string) (string, int, error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 1 || port > 65535 || host == "" {
		return "", 0, fmt.Errorf("port %q is no port", p)
	}
	return host, port, nil
}
