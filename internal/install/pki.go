package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"naru/internal/sitepki"
	"naru/pkg/bootstrap"
)

// Where the first control plane keeps the site's authority.
const (
	caCertPath = bootstrap.StateDir + "/pki/ca.crt"
	caKeyPath  = bootstrap.StateDir + "/pki/ca.key"
)

// ca is the site's authority, or nil before it was looked for.
func (c *Cluster) ca() *sitepki.Authority {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authority
}

func (c *Cluster) setCA(a *sitepki.Authority) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authority = a
}

// Authority is the site's authority once apply has come past its depot phase, or
// once it was read from the first control plane.
func (c *Cluster) Authority(ctx context.Context) (*sitepki.Authority, error) {
	if a := c.ca(); a != nil {
		return a, nil
	}
	holds, err := c.authorityHolds(ctx)
	if err == nil && !holds {
		err = fmt.Errorf("reading the site's authority: %w", fs.ErrNotExist)
	}
	return c.ca(), err
}

// authorityHolds reads the authority from where it is kept.
func (c *Cluster) authorityHolds(ctx context.Context) (bool, error) {
	cert, err := c.keeper().ReadFile(ctx, caCertPath)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key, err := c.keeper().ReadFile(ctx, caKeyPath)
	if err != nil {
		return false, err
	}
	a, err := sitepki.Load(cert, key)
	if err != nil {
		return false, err
	}
	if c.Site.PKI.CAFile != "" {
		want, err := os.ReadFile(c.Site.PKI.CAFile)
		if err != nil {
			return false, fmt.Errorf("reading the site's authority: %w", err)
		}
		if string(want) != string(cert) {
			return false, nil
		}
	}
	c.setCA(a)
	return true, nil
}

// keepAuthority takes the site's own authority, or makes one, and keeps it on the
// first control plane. The key goes first: a certificate is never without one.
func (c *Cluster) keepAuthority(ctx context.Context) error {
	a, err := c.newAuthority()
	if err != nil {
		return err
	}
	if err := privateState(ctx, c.keeper()); err != nil {
		return err
	}
	for _, f := range []bootstrap.File{{Path: caKeyPath, Mode: "0600", Content: a.KeyPEM}, {Path: caCertPath, Mode: "0644", Content: a.PEM}} {
		if err := c.keeper().Put(ctx, f); err != nil {
			return err
		}
	}
	c.setCA(a)
	return nil
}

func (c *Cluster) newAuthority() (*sitepki.Authority, error) {
	if c.Site.PKI.CAFile != "" {
		cert, err := os.ReadFile(c.Site.PKI.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the site's authority: %w", err)
		}
		key, err := os.ReadFile(c.Site.PKI.CAKeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the site's authority: %w", err)
		}
		return sitepki.Load(cert, key)
	}
	var addresses []string
	for _, h := range c.Site.Hosts {
		addresses = append(addresses, h.Address)
	}
	if c.Site.Endpoint.VIP != "" {
		addresses = append(addresses, c.Site.Endpoint.VIP)
	}
	cidrs := append([]string{"127.0.0.0/8", c.Site.Network.Pods, c.Site.Network.Services}, c.Site.PKI.Networks...)
	domains := []string{c.Site.Domain, c.Site.Harbor.Host, c.Site.Network.ClusterDomain, "localhost"}
	return sitepki.New(c.Site.Name, domains, sitepki.Networks(addresses, cidrs))
}

// authorityFindings finds the depots, and Harbor, that the site's authority may not
// vouch for: no host would accept their certificate.
func (c *Cluster) authorityFindings(ctx context.Context) ([]bootstrap.Finding, error) {
	if holds, err := c.authorityHolds(ctx); err != nil || !holds {
		return nil, err // it is made for the site as it is
	}
	var out []bootstrap.Finding
	for _, h := range c.depots() {
		if err := c.ca().Covers(c.depotNames(h)); err != nil {
			out = append(out, authorityFinding(h.Name, err))
		}
	}
	if c.ownHarbor() != nil {
		if err := c.ca().Covers([]string{c.Site.Harbor.Host}); err != nil {
			out = append(out, authorityFinding("", err))
		}
	}
	return out, nil
}

func authorityFinding(host string, err error) bootstrap.Finding {
	return bootstrap.Finding{Host: host, Check: "authority", What: err.Error(),
		Mend: "use an address and names inside of these, or give the site an authority of its own (pki.caFile); pki.networks says before the first apply where hosts may come from later"}
}

// waitAuthority waits until another host's task has it.
func (c *Cluster) waitAuthority(ctx context.Context) error {
	return poll(ctx, 100*time.Millisecond, func(context.Context) (bool, error) { return c.ca() != nil, nil })
}

// tlsConfig trusts the site's authority alone.
func (c *Cluster) tlsConfig() *tls.Config {
	pool := x509.NewCertPool()
	if a := c.ca(); a != nil {
		pool.AppendCertsFromPEM(a.PEM)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// certificateEnds are the ends of the certificates in some PEM; keys and what is no
// certificate are passed over.
func certificateEnds(data []byte) []time.Time {
	var out []time.Time
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert.NotAfter)
		}
	}
}
