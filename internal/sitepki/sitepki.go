// Package sitepki is a site's certificate authority: the site's own, or one that is
// made once. It vouches for the depot and for Harbor, and is constrained to the
// site's domain and networks.
package sitepki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// Lifetimes. Clocks of a closed network may be behind, so validity starts a day early.
const (
	caLife      = 10 * 365 * 24 * time.Hour
	serverLife  = 397 * 24 * time.Hour
	RenewBefore = 60 * 24 * time.Hour
	backdate    = 24 * time.Hour
)

// Authority signs certificates.
type Authority struct {
	Cert *x509.Certificate
	// PEM is the certificate, with the chain above it where it is no root.
	PEM []byte
	// KeyPEM is secret.
	KeyPEM []byte

	key crypto.Signer
}

// Load reads an authority.
func Load(certPEM, keyPEM []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("reading the certificate authority: the certificate is not that of an authority")
	}
	return &Authority{Cert: pair.Leaf, PEM: certPEM, KeyPEM: keyPEM, key: key}, nil
}

// New makes an authority that can vouch for names below the domains and addresses
// in the networks alone.
func New(cluster string, domains []string, networks []*net.IPNet) (*Authority, error) {
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "naru site CA of " + cluster, Organization: []string{"naru"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: domains, PermittedIPRanges: networks,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the authority: %w", err)
	}
	certPEM, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return Load(certPEM, keyPEM)
}

// OutsideError says which names an authority may not vouch for: whoever trusts it would
// refuse their certificate.
type OutsideError struct {
	Names []string
	// Domains and Networks are what it may vouch for.
	Domains, Networks []string
}

func (e *OutsideError) Error() string {
	return fmt.Sprintf("the site's authority may not vouch for %s: it was made for %s and names below %s",
		strings.Join(e.Names, ", "), strings.Join(e.Networks, ", "), strings.Join(e.Domains, ", "))
}

// Covers is an *OutsideError for names and addresses outside of what the authority is
// constrained to. One without constraints covers all.
func (a *Authority) Covers(names []string) error {
	e := &OutsideError{Domains: a.Cert.PermittedDNSDomains}
	for _, n := range a.Cert.PermittedIPRanges {
		e.Networks = append(e.Networks, n.String())
	}
	for _, n := range names {
		ip := net.ParseIP(n)
		inside := slices.ContainsFunc(a.Cert.PermittedIPRanges, func(r *net.IPNet) bool { return ip != nil && r.Contains(ip) }) ||
			ip == nil && slices.ContainsFunc(a.Cert.PermittedDNSDomains, func(d string) bool { return below(n, d) })
		if !inside && (ip != nil && len(e.Networks) > 0 || ip == nil && len(e.Domains) > 0) {
			e.Names = append(e.Names, n)
		}
	}
	if len(e.Names) > 0 {
		return e
	}
	return nil
}

// below tells whether a name is a domain or stands below it, as RFC 5280 constrains
// names; with a leading dot the domain itself is left out.
func below(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	if strings.HasPrefix(domain, ".") {
		return strings.HasSuffix(name, domain)
	}
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// Issue makes a server certificate, with the authority's behind it, and its key. Names
// that it may not vouch for are an *OutsideError.
func (a *Authority) Issue(name string, names []string) (certPEM, keyPEM []byte, err error) {
	if err := a.Covers(names); err != nil {
		return nil, nil, fmt.Errorf("certifying %q: %w", name, err)
	}
	now := time.Now()
	end := now.Add(serverLife)
	if end.After(a.Cert.NotAfter) {
		end = a.Cert.NotAfter
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"naru"}},
		NotBefore: now.Add(-backdate), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the key of %q: %w", name, err)
	}
	if certPEM, err = sign(template, a.Cert, key.Public(), a.key); err != nil {
		return nil, nil, fmt.Errorf("certifying %q: %w", name, err)
	}
	keyPEM, err = encodeKey(key)
	return append(certPEM, a.PEM...), keyPEM, err
}

// Fits tells whether a certificate is of this authority, for exactly these names,
// and not about to end.
func (a *Authority) Fits(certPEM []byte, names []string) bool {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.CheckSignatureFrom(a.Cert) != nil || time.Now().Add(RenewBefore).After(cert.NotAfter) {
		return false
	}
	have := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		have = append(have, ip.String())
	}
	want := slices.Clone(names)
	slices.Sort(have)
	slices.Sort(want)
	return slices.Equal(slices.Compact(have), slices.Compact(want))
}

// Networks are those around addresses, /24 or /64 each, and the ones given: what an
// authority is made for, so that hosts that come later are covered.
func Networks(addresses, cidrs []string) []*net.IPNet {
	var out []*net.IPNet
	seen := map[string]bool{}
	add := func(n *net.IPNet) {
		if !seen[n.String()] {
			seen[n.String()] = true
			out = append(out, n)
		}
	}
	for _, a := range addresses {
		bits := "/24"
		if strings.Contains(a, ":") {
			bits = "/64"
		}
		if _, n, err := net.ParseCIDR(a + bits); err == nil {
			add(n)
		}
	}
	for _, c := range cidrs {
		if _, n, err := net.ParseCIDR(c); err == nil {
			add(n)
		}
	}
	return out
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
