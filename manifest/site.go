package manifest

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
)

// KindSite is the document that says what a site's cluster is to be.
const KindSite = "Site"

// Roles of a host.
const (
	RoleControlPlane = "control-plane"
	RoleWorker       = "worker"
	RoleLB           = "lb"
	RoleDepot        = "depot"
)

// Roles lists every role.
func Roles() []string { return []string{RoleControlPlane, RoleWorker, RoleLB, RoleDepot} }

// Site is site.yaml: the hosts of a site, how they are reached, and what their
// cluster is to be. docs/site.md describes every field with its default.
//
// Changes per version:
//
//	naru/v1: the first.
type Site struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	// Name of the cluster; it stays once the cluster exists.
	Name string `yaml:"name"`
	// Domain is the site's DNS domain, below which Harbor and the API answer.
	Domain string `yaml:"domain"`

	Hosts []SiteHost `yaml:"hosts"`
	// SSH is how hosts are reached that do not say otherwise.
	SSH      SiteSSH      `yaml:"ssh,omitempty"`
	Endpoint SiteEndpoint `yaml:"endpoint,omitempty"`
	Network  SiteNetwork  `yaml:"network,omitempty"`
	// TimeServers are names or addresses; without any the first control plane keeps
	// the time of the others.
	TimeServers []string       `yaml:"timeServers,omitempty"`
	PKI         SitePKI        `yaml:"pki,omitempty"`
	Depot       SiteDepot      `yaml:"depot,omitempty"`
	Harbor      SiteHarbor     `yaml:"harbor,omitempty"`
	Kubernetes  SiteKubernetes `yaml:"kubernetes,omitempty"`
	Containerd  SiteContainerd `yaml:"containerd,omitempty"`
	Storage     SiteStorage    `yaml:"storage,omitempty"`
	Components  SiteComponents `yaml:"components,omitempty"`
	// AllowUnscanned accepts bundles whose scan was skipped.
	AllowUnscanned bool `yaml:"allowUnscanned,omitempty"`

	// Raw is the file as it was read; empty for the site without a file.
	Raw []byte `yaml:"-"`
}

// SiteHost is one host.
type SiteHost struct {
	// Name is a DNS label and becomes the node's name.
	Name string `yaml:"name"`
	// Address is the IP address that the other hosts reach it at.
	Address string   `yaml:"address"`
	Roles   []string `yaml:"roles"`
	// Local says that the installer runs on this host: no SSH.
	Local bool `yaml:"local,omitempty"`
	// SSH overrides single fields of the site's.
	SSH    SiteSSH           `yaml:"ssh,omitempty"`
	Labels map[string]string `yaml:"labels,omitempty"`
	// Taints are "key=value:Effect" or "key:Effect".
	Taints []string `yaml:"taints,omitempty"`
	// Disks are raw block devices given to storage.
	Disks []string `yaml:"disks,omitempty"`
}

// HasRole tells whether the host has a role.
func (h *SiteHost) HasRole(role string) bool { return slices.Contains(h.Roles, role) }

// Node tells whether the host is a node of the cluster.
func (h *SiteHost) Node() bool { return h.HasRole(RoleControlPlane) || h.HasRole(RoleWorker) }

// SiteSSH is how a host is reached.
type SiteSSH struct {
	// User is root if empty; another user needs sudo without a password.
	User string `yaml:"user,omitempty"`
	Port int    `yaml:"port,omitempty"`
	// KeyFile is a private key; without one the SSH agent is asked.
	KeyFile    string     `yaml:"keyFile,omitempty"`
	Passphrase *SecretRef `yaml:"passphrase,omitempty"`
	// KnownHostsFile is in OpenSSH's format; ~/.ssh/known_hosts if empty.
	KnownHostsFile string `yaml:"knownHostsFile,omitempty"`
	// Fingerprints of host keys, "SHA256:...", as ssh-keygen -lf prints them; with
	// any, known_hosts is not read.
	Fingerprints []string `yaml:"fingerprints,omitempty"`
	// Jump is a host to go through.
	Jump *SiteJump `yaml:"jump,omitempty"`
}

// SiteJump is an SSH server to go through.
type SiteJump struct {
	Address        string     `yaml:"address"`
	User           string     `yaml:"user,omitempty"`
	Port           int        `yaml:"port,omitempty"`
	KeyFile        string     `yaml:"keyFile,omitempty"`
	Passphrase     *SecretRef `yaml:"passphrase,omitempty"`
	KnownHostsFile string     `yaml:"knownHostsFile,omitempty"`
	Fingerprints   []string   `yaml:"fingerprints,omitempty"`
}

// SiteEndpoint is where the API server is reached from everywhere. With nothing
// set it is the one lb host, or the first control plane.
type SiteEndpoint struct {
	// VIP is an address that keepalived holds on the lb hosts, or on the control
	// planes where there are none.
	VIP string `yaml:"vip,omitempty"`
	// VirtualRouterID is unique in the network segment, 1 to 255; the VIP's last
	// octet if 0.
	VirtualRouterID int `yaml:"virtualRouterID,omitempty"`
	// External is host:port of a load balancer that the site runs itself.
	External string `yaml:"external,omitempty"`
	// Names are further names and addresses for the API server's certificate.
	Names []string `yaml:"names,omitempty"`
}

// SiteNetwork are the cluster's own networks.
type SiteNetwork struct {
	Pods          string `yaml:"pods,omitempty"`
	Services      string `yaml:"services,omitempty"`
	ClusterDomain string `yaml:"clusterDomain,omitempty"`
	// AddressPools are ranges or CIDRs for load-balancer services.
	AddressPools []string `yaml:"addressPools,omitempty"`
}

// SitePKI is the site's certificate authority for the depot and Harbor. Without
// files one is made once and kept on the first control plane.
type SitePKI struct {
	CAFile    string `yaml:"caFile,omitempty"`
	CAKeyFile string `yaml:"caKeyFile,omitempty"`
	// Networks are CIDRs that hosts may come from later. The authority that is made once
	// vouches for addresses in them and in the networks (/24, /64) of the first hosts
	// alone.
	Networks []string `yaml:"networks,omitempty"`
}

// SiteDepot is where the bundles are kept and served.
type SiteDepot struct {
	Port int `yaml:"port,omitempty"`
	// Dir holds the volumes.
	Dir string `yaml:"dir,omitempty"`
}

// Harbor modes.
const (
	HarborInCluster = "in-cluster"
	HarborExternal  = "external"
	HarborNone      = "none"
)

// SiteHarbor says where the site's registry is.
type SiteHarbor struct {
	Mode string `yaml:"mode,omitempty"`
	// Host is the name it answers at; harbor.<domain> if empty.
	Host string `yaml:"host,omitempty"`
	// Port that it answers at; 443, or the node port where the site has no balancer.
	Port int `yaml:"port,omitempty"`
	// Address is the IP address of an external one. The hosts then find it by naru's
	// own lines of their hosts files, behind HAProxy where the site has one, and pods
	// by CoreDNS; without it the site's DNS has to know Host.
	Address string `yaml:"address,omitempty"`
	// NodePort that HAProxy forwards to, for in-cluster.
	NodePort int `yaml:"nodePort,omitempty"`
	// User and Password log in to an external one that must be able to make projects
	// and robots; CAFile vouches for its certificate. In-cluster they are for a Harbor
	// whose administrator's password was changed since.
	User     string     `yaml:"user,omitempty"`
	Password *SecretRef `yaml:"password,omitempty"`
	CAFile   string     `yaml:"caFile,omitempty"`
}

// SecretRef names a secret by the file or the environment variable that holds it:
// a site file never holds one itself.
type SecretRef struct {
	File string `yaml:"file,omitempty"`
	Env  string `yaml:"env,omitempty"`
}

// SiteKubernetes overrides what naru writes, each as a JSON merge patch in YAML.
type SiteKubernetes struct {
	// Kubelet over KubeletConfiguration, KubeProxy over KubeProxyConfiguration,
	// Kubeadm over ClusterConfiguration.
	Kubelet   map[string]any `yaml:"kubelet,omitempty"`
	KubeProxy map[string]any `yaml:"kubeProxy,omitempty"`
	Kubeadm   map[string]any `yaml:"kubeadm,omitempty"`
	// IgnorePreflight names checks of kubeadm to pass over ("SystemVerification").
	IgnorePreflight []string      `yaml:"ignorePreflight,omitempty"`
	Hardening       SiteHardening `yaml:"hardening,omitempty"`
}

// SiteHardening opts out of hardened defaults, each for itself.
type SiteHardening struct {
	NoAudit            bool `yaml:"noAudit,omitempty"`
	NoEncryptionAtRest bool `yaml:"noEncryptionAtRest,omitempty"`
	// NoRestrictedTLS leaves TLS versions and ciphers as upstream has them.
	NoRestrictedTLS bool `yaml:"noRestrictedTLS,omitempty"`
	// NoKubeletLimits leaves pod PID limits, event rate and kernel defaults alone.
	NoKubeletLimits bool `yaml:"noKubeletLimits,omitempty"`
}

// SiteContainerd overrides containerd's configuration.
type SiteContainerd struct {
	// Config is TOML, merged over what naru writes, table by table.
	Config string `yaml:"config,omitempty"`
}

// SiteStorage names the default storage class.
type SiteStorage struct {
	Class string `yaml:"class,omitempty"`
}

// SiteComponents chooses among the bundle's components.
type SiteComponents struct {
	// With installs these beside those of the bundle's profile; Without leaves some
	// out that nothing else requires.
	With    []string `yaml:"with,omitempty"`
	Without []string `yaml:"without,omitempty"`
	// Values are settings that a component's templates read as .Values, by its id.
	Values map[string]map[string]any `yaml:"values,omitempty"`
}

// ControlPlanes are the hosts of that role, in the order of the file; the first
// keeps the site's state.
func (s *Site) ControlPlanes() []*SiteHost { return s.With(RoleControlPlane) }

// Workers are hosts that are nodes and no control planes.
func (s *Site) Workers() []*SiteHost {
	return slices.DeleteFunc(s.With(RoleWorker), func(h *SiteHost) bool { return h.HasRole(RoleControlPlane) })
}

// Nodes are control planes and workers, control planes first.
func (s *Site) Nodes() []*SiteHost { return append(s.ControlPlanes(), s.Workers()...) }

// Balancers are the hosts that HAProxy runs on: those of role lb, else with a VIP
// the control planes, else none.
func (s *Site) Balancers() []*SiteHost {
	if s.Endpoint.External != "" {
		return nil
	}
	if lb := s.With(RoleLB); len(lb) > 0 {
		return lb
	}
	if s.Endpoint.VIP != "" {
		return s.ControlPlanes()
	}
	return nil
}

// Depots are the hosts that serve bundles: those of role depot, else the first lb
// host, else the first control plane.
func (s *Site) Depots() []*SiteHost {
	if d := s.With(RoleDepot); len(d) > 0 {
		return d
	}
	if lb := s.With(RoleLB); len(lb) > 0 {
		return lb[:1]
	}
	return s.ControlPlanes()[:1]
}

// With are the hosts of a role, in the order of the file.
func (s *Site) With(role string) []*SiteHost {
	var out []*SiteHost
	for i := range s.Hosts {
		if s.Hosts[i].HasRole(role) {
			out = append(out, &s.Hosts[i])
		}
	}
	return out
}

// Host is the host of a name, or nil.
func (s *Site) Host(name string) *SiteHost {
	for i := range s.Hosts {
		if s.Hosts[i].Name == name {
			return &s.Hosts[i]
		}
	}
	return nil
}

// SSHFor is how a host is reached: its own settings over the site's.
func (s *Site) SSHFor(h *SiteHost) SiteSSH {
	out := s.SSH
	o := h.SSH
	if o.User != "" {
		out.User = o.User
	}
	if o.Port != 0 {
		out.Port = o.Port
	}
	if o.KeyFile != "" {
		out.KeyFile, out.Passphrase = o.KeyFile, o.Passphrase
	}
	if o.KnownHostsFile != "" {
		out.KnownHostsFile = o.KnownHostsFile
	}
	out.Fingerprints = o.Fingerprints
	if o.Jump != nil {
		out.Jump = o.Jump
	}
	return out
}

// LocalSite is the site without a file: this host alone is the cluster.
func LocalSite(hostname, address string) *Site {
	s := &Site{APIVersion: APIVersion, Kind: KindSite, Name: "naru", Domain: "naru.internal",
		Hosts: []SiteHost{{Name: hostname, Address: address, Local: true, Roles: []string{RoleControlPlane, RoleWorker, RoleDepot}}}}
	s.setDefaults()
	return s
}

// Value is the secret, read from its file or variable. A missing or empty one is an error
// that names where it was looked for.
func (r *SecretRef) Value() (string, error) {
	if r.Env != "" {
		v, ok := os.LookupEnv(r.Env)
		if !ok || v == "" {
			return "", &SecretError{Ref: *r}
		}
		return v, nil
	}
	data, err := os.ReadFile(r.File)
	if err != nil {
		return "", &SecretError{Ref: *r, Err: err}
	}
	v := trimLine(string(data))
	if v == "" {
		return "", &SecretError{Ref: *r, Err: fmt.Errorf("file %q is empty", r.File)}
	}
	return v, nil
}

// SecretError says that a secret is not where the site file says.
type SecretError struct {
	Ref SecretRef
	Err error
}

func (e *SecretError) Error() string {
	if e.Ref.Env != "" {
		return "reading a secret: variable " + e.Ref.Env + " is not set"
	}
	return "reading a secret: " + e.Err.Error()
}

func (e *SecretError) Unwrap() error { return e.Err }

func trimLine(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}

// APIEndpoint is where the API server is reached from everywhere.
func (s *Site) APIEndpoint() Endpoint {
	if s.Endpoint.External != "" {
		host, port, _ := splitHostPort(s.Endpoint.External)
		return Endpoint{Host: host, Port: port}
	}
	lb := s.Balancers()
	switch {
	case s.Endpoint.VIP != "":
		return Endpoint{Host: s.Endpoint.VIP, Port: s.BalancerPort()}
	case len(lb) > 0:
		return Endpoint{Host: lb[0].Address, Port: s.BalancerPort()}
	}
	return Endpoint{Host: s.ControlPlanes()[0].Address, Port: APIPort}
}

// Ports of the API server itself, and of HAProxy where it shares a control plane.
const (
	APIPort       = 6443
	SharedAPIPort = 8443
)

// BalancerPort is where HAProxy listens for the API: SharedAPIPort where one of
// its hosts is a control plane too.
func (s *Site) BalancerPort() int {
	for _, h := range s.Balancers() {
		if h.HasRole(RoleControlPlane) {
			return SharedAPIPort
		}
	}
	return APIPort
}

// DNSService is the address of the cluster's DNS: the tenth of the services.
func (s *Site) DNSService() string {
	p, err := netip.ParsePrefix(s.Network.Services)
	if err != nil {
		return ""
	}
	a := p.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return a.String()
}
