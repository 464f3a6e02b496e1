package install

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/serve"
)

// packagesPhase installs OS packages from the depot.
//
// INPUTS: the packages that components ask for, by the host's distribution; a depot
// that answers. OUTPUTS: the packages, installed. The source is private to naru's
// own calls: the host's other sources are neither asked nor changed. Rerunning is
// safe: the package manager's own lock is waited for, a half-configured package is
// completed first, and what is installed already is left as it is.
func packagesPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "os-packages", Title: "install OS packages",
		Skip: func(c *Cluster) string {
			if len(c.Set.Systems) == 0 {
				return "the bundle carries none"
			}
			return ""
		},
		Tasks: func(c *Cluster) []phase.Task {
			return each(c.Hosts, func(h *bootstrap.Host) []phase.Task { return []phase.Task{c.packagesTask(h)} })
		}}
}

func (c *Cluster) packagesTask(h *bootstrap.Host) phase.Task {
	return phase.Task{What: "install OS packages", Deadline: time.Hour, Interruptible: true,
		Done: func(ctx context.Context) (bool, error) {
			if h.Facts == nil {
				return false, fmt.Errorf("%s was not looked at", h.Name)
			}
			missing, err := h.MissingPackages(ctx, c.packagesFor(h))
			return len(missing) == 0, err
		},
		Do: func(ctx context.Context) error {
			src, err := c.packageSource(h, c.depotURLs()[0])
			if err != nil {
				return err
			}
			return h.InstallPackages(ctx, src, c.packagesFor(h))
		}}
}

// balancerComponents have packages for balancers alone; all others are for nodes.
// hostWide are the packages that every host gets, nodes or not, of those that are
// asked for.
var (
	balancerComponents = []string{"haproxy", "keepalived"}
	hostWide           = []string{"chrony", "ca-certificates"}
)

// packagesFor are the packages that a host of the site gets.
func (c *Cluster) packagesFor(h *bootstrap.Host) []string {
	if h.Facts == nil {
		return nil
	}
	system := c.Set.System(h.Facts.OS, h.Facts.Version)
	if system == nil {
		return nil
	}
	balancer := slices.ContainsFunc(c.Site.Balancers(), func(b *manifest.SiteHost) bool { return b.Name == h.Name })
	var out []string
	for _, s := range c.Components {
		for _, name := range s.PackagesFor(system.ID, "linux/"+h.Facts.Arch) {
			plain, _, _ := strings.Cut(name, "=")
			lb := slices.Contains(balancerComponents, s.ID)
			switch {
			case lb && balancer && (s.ID != "keepalived" || c.Site.Endpoint.VIP != ""):
				out = append(out, name)
			case !lb && (h.Node() || slices.Contains(hostWide, plain)):
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// packageSource is where a host's packages come from, below a depot's address.
func (c *Cluster) packageSource(h *bootstrap.Host, depot string) (bootstrap.PackageSource, error) {
	src := bootstrap.PackageSource{CAFile: bootstrap.CAFile, Dir: "/etc/naru/packages"}
	system := c.Set.System(h.Facts.OS, h.Facts.Version)
	if system == nil {
		return src, fmt.Errorf("choosing packages: the bundle carries none for %s %s", h.Facts.OS, h.Facts.Version)
	}
	src.Family, src.ID = system.Family, system.ID
	locked := c.Set.Lock.PackageSet(system.ID, "linux/"+h.Facts.Arch)
	if locked == nil {
		return src, fmt.Errorf("choosing packages: the bundle carries none of %s for linux/%s", system.ID, h.Facts.Arch)
	}
	for _, s := range locked.Sources {
		repo := bootstrap.PackageRepo{Name: s.Name, Suite: s.Suite, Sections: s.Sections, SignedMetadata: s.Signer != ""}
		i := slices.IndexFunc(system.Sources, func(p manifest.PackageSource) bool { return p.Name == s.Name })
		if i < 0 {
			return src, fmt.Errorf("choosing packages: distribution %q has no source %q", system.ID, s.Name)
		}
		repo.Keyring = system.Sources[i].Keyring
		key, err := manifest.Keyring(repo.Keyring)
		if err != nil {
			return src, err
		}
		repo.Key = key
		kind := "apt"
		repo.URL = fmt.Sprintf("%s/%s/%s/%s/", depot, kind, system.ID, s.Name)
		if system.Family == manifest.FamilyRPM {
			repo.URL = fmt.Sprintf("%s/yum/%s/%s/%s/", depot, system.ID, s.Name, rpmArch(h.Facts.Arch))
		}
		src.Repos = append(src.Repos, repo)
	}
	return src, nil
}

func rpmArch(arch string) string {
	switch arch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return arch
}

// newestMetadata is the latest date at which a vendor signed the metadata carried.
func (c *Cluster) newestMetadata() time.Time {
	var newest time.Time
	for _, p := range c.Set.Lock.Packages {
		for _, s := range p.Sources {
			if t, err := time.Parse(time.RFC3339, s.Date); err == nil && t.After(newest) {
				newest = t
			}
		}
	}
	return newest
}

// simulatePackages lets each host's own package manager plan the installation, with
// the packages served through the host's connection: no depot runs yet, and nothing
// is written but below /tmp.
func (c *Cluster) simulatePackages(ctx context.Context) ([]bootstrap.Finding, error) {
	if len(c.Set.Systems) == 0 {
		return nil, nil
	}
	contents := make([]serve.Content, len(c.Set.Bundles))
	for i, b := range c.Set.Bundles {
		contents[i] = b
	}
	server, err := serve.New(ctx, serve.Options{Contents: contents})
	if err != nil {
		return nil, err
	}
	findings := make([][]bootstrap.Finding, len(c.Hosts))
	err = c.onEach(ctx, func(ctx context.Context, i int, h *bootstrap.Host) error {
		missing, err := h.MissingPackages(ctx, c.packagesFor(h))
		if err != nil || len(missing) == 0 {
			return err
		}
		findings[i], err = c.simulateOn(ctx, h, server)
		return err
	})
	return slices.Concat(findings...), err
}

func (c *Cluster) simulateOn(ctx context.Context, h *bootstrap.Host, handler http.Handler) ([]bootstrap.Finding, error) {
	const check = "os-packages"
	f, ok := h.Runner.(bootstrap.Forwarder)
	if !ok {
		return nil, nil
	}
	ln, err := f.Listen(ctx)
	if err != nil {
		return []bootstrap.Finding{{Host: h.Name, Check: check, Warning: true, What: "the installation was not simulated: " + err.Error(),
			Mend: "allow TCP forwarding in sshd (AllowTcpForwarding) to have conflicts found beforehand"}}, nil
	}
	hs := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = hs.Serve(ln) }()
	defer func() { _ = hs.Close(); <-done }()
	src, err := c.packageSource(h, "http://"+ln.Addr().String())
	if err != nil {
		return []bootstrap.Finding{{Host: h.Name, Check: check, What: err.Error(), Mend: "build a bundle with packages for this distribution and architecture"}}, nil
	}
	src.CAFile = ""
	report, err := h.SimulatePackages(ctx, src, c.packagesFor(h))
	if err != nil {
		return nil, err
	}
	if report != "" {
		return []bootstrap.Finding{{Host: h.Name, Check: check, What: report, Mend: "remove or hold what is in the way, or add what is missing to the bundle"}}, nil
	}
	return nil, nil
}
