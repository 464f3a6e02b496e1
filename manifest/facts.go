package manifest

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
)

// Facts is what values, manifests and conditions of steps may speak of: the site
// as the templates of a component see it. A template that names a field or key
// that is not there is an error.
type Facts struct {
	// Release is the name of the naru release, Kubernetes its version without "v".
	Release    string
	Kubernetes string
	// Cluster is the cluster's name, Domain the site's DNS domain ("k8s.example.kr"),
	// ClusterDomain the one inside the cluster ("cluster.local").
	Cluster       string
	Domain        string
	ClusterDomain string
	// API is where the API server is reached from everywhere: the VIP or the
	// external endpoint.
	API Endpoint
	// VIP is the address that HAProxy holds; empty on a single host without one.
	VIP string
	// PodCIDR, ServiceCIDR and DNSService (address) are the cluster's networks.
	PodCIDR     string
	ServiceCIDR string
	DNSService  string
	// AddressPools are ranges for load-balancer services ("10.0.0.10-10.0.0.20" or CIDR).
	AddressPools []string
	// StorageClass is the default one.
	StorageClass string
	// Nodes are the cluster's hosts, control planes first.
	Nodes []NodeFacts
	// Harbor is where the site's registry answers.
	Harbor HarborFacts
	// Depot is the base URL of the depot ("https://192.0.2.10:8443"), without a slash
	// at its end; carried files are below its /files/.
	Depot string
	// CA is the site's certificate authority, PEM.
	CA string
	// TimeServers as names or addresses.
	TimeServers []string
	// Secrets are the generated secrets of the component, by the names that its
	// secrets list gives.
	Secrets map[string]string
	// Values are the site file's free settings for the component.
	Values map[string]any
}

// Endpoint is a host name or address with a port.
type Endpoint struct {
	Host string
	Port int
}

func (e Endpoint) String() string { return fmt.Sprintf("%s:%d", e.Host, e.Port) }

// NodeFacts is one host of the cluster.
type NodeFacts struct {
	Name    string
	Address string
	// Roles are "control-plane", "worker", "lb", "depot".
	Roles []string
	// Disks are raw block devices given to storage ("/dev/sdb").
	Disks []string
}

// HarborFacts says where Harbor answers; all empty where the site has none.
type HarborFacts struct {
	Host string
	// Registry is Host with the port, where that is not 443: images in Harbor are
	// named by it.
	Registry string
	// URL is "https://" and Registry.
	URL string
	// NodePort that HAProxy forwards to.
	NodePort int
	// TLSSecret names the Kubernetes secret with Harbor's certificate.
	TLSSecret string
}

// HasRole tells whether a node has a role.
func (n NodeFacts) HasRole(role string) bool {
	for _, r := range n.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// Value is the site's setting at a dotted path of Values ("trivy.skipUpdate"), or
// fallback where the site sets none.
func (f *Facts) Value(path string, fallback any) any {
	var v any = f.Values
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return fallback
		}
		if v, ok = m[key]; !ok {
			return fallback
		}
	}
	return v
}

// SampleFacts are facts of an invented site, for rendering where there is none
// yet: at build, in lint and in tests. The secrets are fixed words, not secrets.
func SampleFacts(release, kubernetes string, c *ComponentSpec) *Facts {
	f := &Facts{
		Release: release, Kubernetes: kubernetes,
		Cluster: "naru", Domain: "naru.test", ClusterDomain: "cluster.local",
		API: Endpoint{Host: "192.0.2.10", Port: 6443}, VIP: "192.0.2.10",
		PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSService: "10.96.0.10",
		AddressPools: []string{"192.0.2.100-192.0.2.120"},
		StorageClass: "local-path",
		Nodes: []NodeFacts{
			{Name: "cp1", Address: "192.0.2.11", Roles: []string{"control-plane", "depot"}},
			{Name: "cp2", Address: "192.0.2.12", Roles: []string{"control-plane"}},
			{Name: "cp3", Address: "192.0.2.13", Roles: []string{"control-plane"}},
			{Name: "w1", Address: "192.0.2.21", Roles: []string{"worker"}, Disks: []string{"/dev/sdb"}},
		},
		Harbor:      HarborFacts{Host: "harbor.naru.test", Registry: "harbor.naru.test", URL: "https://harbor.naru.test", NodePort: 30003, TLSSecret: "harbor-tls"},
		Depot:       "https://192.0.2.10:5000",
		CA:          "-----BEGIN CERTIFICATE-----\nc2FtcGxl\n-----END CERTIFICATE-----\n",
		TimeServers: []string{"192.0.2.1"},
		Secrets:     map[string]string{},
		Values:      map[string]any{},
	}
	if c != nil {
		for _, s := range c.Secrets {
			f.Secrets[s.Name] = strings.Repeat("s", max(s.Length, 16))
		}
	}
	return f
}

// SampleSites are facts of invented sites that differ in what steps tell apart: one
// with several hosts and a Harbor, and a single host without either.
func SampleSites(release, kubernetes string, c *ComponentSpec) []*Facts {
	single := SampleFacts(release, kubernetes, c)
	single.VIP = ""
	single.API.Host = "192.0.2.11"
	single.Nodes = []NodeFacts{{Name: "cp1", Address: "192.0.2.11", Roles: []string{"control-plane", "worker", "depot"}}}
	single.Harbor = HarborFacts{}
	return []*Facts{SampleFacts(release, kubernetes, c), single}
}

// templateFuncs are the functions of templates, beside those of text/template.
var templateFuncs = template.FuncMap{
	// indent puts n spaces before every line of s.
	"indent": func(n int, s string) string {
		pad := strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+pad)
	},
	// quote makes a YAML and JSON string.
	"quote": func(s string) (string, error) {
		data, err := EncodeJSON(s)
		return strings.TrimSpace(string(data)), err
	},
	"join": func(sep string, list []string) string { return strings.Join(list, sep) },
	// default gives the first value, or the second where the first is not set.
	"default": func(fallback, v any) any {
		if v == nil || v == "" || v == 0 || v == false {
			return fallback
		}
		return v
	},
}

func parseTemplate(name, text string) (*template.Template, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(templateFuncs).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing template: %w", err)
	}
	return t, nil
}

// Render executes a step's template text over the facts. A field or key that is
// not there is an error that names the place in the template.
func (f *Facts) Render(name, text string) (string, error) {
	t, err := parseTemplate(name, text)
	if err != nil {
		return "", err
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, f); err != nil {
		return "", fmt.Errorf("rendering %q: %w", name, err)
	}
	return buf.String(), nil
}

// Applies tells whether a step's When holds.
func (f *Facts) Applies(s *Step) (bool, error) {
	if s.When == "" {
		return true, nil
	}
	out, err := f.Render(s.Name, s.When)
	return strings.TrimSpace(out) == "true", err
}
