package manifest

import (
	"fmt"
	"slices"
)

// Facts is what templates of components may speak of, but for what only a running
// installation knows: the certificate authority and the secrets.
func (s *Site) Facts(release, kubernetes string) *Facts {
	f := &Facts{
		Release: release, Kubernetes: kubernetes,
		Cluster: s.Name, Domain: s.Domain, ClusterDomain: s.Network.ClusterDomain,
		API: s.APIEndpoint(), VIP: s.Endpoint.VIP,
		PodCIDR: s.Network.Pods, ServiceCIDR: s.Network.Services, DNSService: s.DNSService(),
		AddressPools: slices.Clone(s.Network.AddressPools),
		StorageClass: s.Storage.Class,
		TimeServers:  slices.Clone(s.TimeServers),
		Secrets:      map[string]string{},
		Values:       map[string]any{},
	}
	for _, h := range s.Nodes() {
		f.Nodes = append(f.Nodes, NodeFacts{Name: h.Name, Address: h.Address, Roles: slices.Clone(h.Roles), Disks: slices.Clone(h.Disks)})
	}
	if d := s.Depots(); len(d) > 0 {
		f.Depot = fmt.Sprintf("https://%s:%d", d[0].Address, s.Depot.Port)
	}
	if s.Harbor.Mode != HarborNone {
		f.Harbor = HarborFacts{Host: s.Harbor.Host, Registry: s.Harbor.Registry(), URL: "https://" + s.Harbor.Registry()}
		if s.Harbor.Mode == HarborInCluster {
			f.Harbor.NodePort, f.Harbor.TLSSecret = s.Harbor.NodePort, "harbor-tls"
		}
	}
	return f
}

// Registry is "host[:port]", what images in the site's Harbor are named by.
func (h SiteHarbor) Registry() string {
	if h.Port == 443 || h.Port == 0 {
		return h.Host
	}
	return fmt.Sprintf("%s:%d", h.Host, h.Port)
}

// For is f with the free settings and the generated secrets of one component.
func (f *Facts) For(s *Site, component string, secrets map[string]string) *Facts {
	out := *f
	out.Values = map[string]any{}
	for k, v := range s.Components.Values[component] {
		out.Values[k] = v
	}
	out.Secrets = secrets
	if out.Secrets == nil {
		out.Secrets = map[string]string{}
	}
	return &out
}
