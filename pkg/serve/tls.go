package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names of the files in a state folder. CAFile is what clients are to trust.
const (
	CAFile     = "ca.crt"
	caKeyFile  = "ca.key"
	serverFile = "server.crt"
	serverKey  = "server.key"
)

// Lifetimes of what is made here. Hosts of a closed network may have clocks that
// are behind, so validity starts a day early.
const (
	caLife      = 10 * 365 * 24 * time.Hour
	serverLife  = 397 * 24 * time.Hour
	renewBefore = 60 * 24 * time.Hour
	backdate    = 24 * time.Hour
)

// NameError says that a certificate was asked for a name outside the constraints
// of the authority that was made earlier. Clients trust that authority already,
// so it is not replaced behind their back: remove the state folder to make a new
// one, and carry its ca.crt to the clients.
type NameError struct {
	StateDir string
	Name     string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("the authority in %q was not made for name %q", e.StateDir, e.Name)
}

// keyPair is a certificate with its key.
type keyPair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority keeps a certificate authority and a server certificate of it in a
// folder.
type authority struct {
	dir   string
	names []string // DNS names and IP addresses, sorted
	now   func() time.Time
}

// certificate returns the server certificate: the one in the folder while it
// lasts and fits the names, else a new one; the authority is made at first use.
func (a *authority) certificate() (*tls.Certificate, error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making state folder: %w", err)
	}
	ca, err := a.authority()
	if err != nil {
		return nil, err
	}
	if a.now().Add(renewBefore).After(ca.cert.NotAfter) {
		return nil, fmt.Errorf("using the authority in %q: it ends on %s; remove it to make a new one, and carry its %s to the clients",
			a.dir, ca.cert.NotAfter.Format(time.DateOnly), CAFile)
	}
	for _, name := range a.names {
		if !permits(ca.cert, name) {
			return nil, &NameError{StateDir: a.dir, Name: name}
		}
	}
	// A server pair that is missing or, after a crash between its two files, does
	// not belong together is simply made anew.
	leaf, err := a.load(serverFile, serverKey)
	if err != nil || !a.fits(leaf.cert, ca.cert) {
		if leaf, err = a.newServer(ca); err != nil {
			return nil, err
		}
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.cert.Raw, ca.cert.Raw}, PrivateKey: leaf.key, Leaf: leaf.cert}, nil
}

// authority returns the authority in the folder, made now if there is none. One
// that lost its key is an error: clients trust its certificate, so that it is not
// replaced unasked.
func (a *authority) authority() (*keyPair, error) {
	_, err := os.Stat(filepath.Join(a.dir, CAFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a.newCA()
	}
	if err != nil {
		return nil, fmt.Errorf("looking for an authority: %w", err)
	}
	return a.load(CAFile, caKeyFile)
}

// fits tells whether the certificate is of ca, for exactly the names asked for,
// and not about to end.
func (a *authority) fits(cert, ca *x509.Certificate) bool {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return cert.CheckSignatureFrom(ca) == nil && slices.Equal(names, a.names) &&
		a.now().Add(renewBefore).Before(cert.NotAfter) && a.now().After(cert.NotBefore)
}

// permits tells whether the constraints of ca, as newCA sets them, allow a name.
func permits(ca *x509.Certificate, name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return slices.ContainsFunc(ca.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) })
	}
	return slices.ContainsFunc(ca.PermittedDNSDomains, func(domain string) bool {
		return name == domain || strings.HasSuffix(name, "."+domain)
	})
}

// newCA makes an authority that can vouch for the names alone.
func (a *authority) newCA() (*keyPair, error) {
	dns, ips := splitNames(a.names)
	template := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: "naru depot CA", Organization: []string{"naru"}},
		NotBefore:                   a.now().Add(-backdate),
		NotAfter:                    a.now().Add(caLife),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         dns,
	}
	for _, ip := range ips {
		bits := 8 * len(ip)
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	// A kind of name without a permitted one would be free of constraints.
	if len(dns) == 0 {
		template.ExcludedDNSDomains = []string{""}
	}
	if len(ips) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
	return a.issue(template, nil, CAFile, caKeyFile)
}

func (a *authority) newServer(ca *keyPair) (*keyPair, error) {
	dns, ips := splitNames(a.names)
	end := a.now().Add(serverLife)
	if end.After(ca.cert.NotAfter) {
		end = ca.cert.NotAfter
	}
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "naru depot", Organization: []string{"naru"}},
		NotBefore:   a.now().Add(-backdate),
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    dns,
		IPAddresses: ips,
	}, ca, serverFile, serverKey)
}

// issue makes a key and its certificate, signed by parent or by itself, and
// keeps both.
func (a *authority) issue(template *x509.Certificate, parent *keyPair, certName, keyName string) (*keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making key %q: %w", keyName, err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("making serial number: %w", err)
	}
	if parent == nil {
		parent = &keyPair{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		return nil, fmt.Errorf("making certificate %q: %w", certName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making certificate %q: %w", certName, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key %q: %w", keyName, err)
	}
	// Key first: a certificate without its key would be taken for a broken pair.
	if err := a.write(keyName, "PRIVATE KEY", keyDER, 0o600); err != nil {
		return nil, err
	}
	if err := a.write(certName, "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	return &keyPair{cert: cert, key: key}, nil
}

// load reads a pair.
func (a *authority) load(certName, keyName string) (*keyPair, error) {
	certPEM, err := os.ReadFile(filepath.Join(a.dir, certName))
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(a.dir, keyName))
	if err != nil {
		return nil, fmt.Errorf("reading the key of %q: %w", certName, err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading %q and its key in %q: %w", certName, a.dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading %q in %q: want an ECDSA key, got %T", keyName, a.dir, pair.PrivateKey)
	}
	return &keyPair{cert: pair.Leaf, key: key}, nil
}

// write puts a PEM file in place at once or not at all.
func (a *authority) write(name, kind string, der []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(a.dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %q: %w", name, err), os.Remove(f.Name()))
		}
	}()
	err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(a.dir, name))
}

// splitNames tells IP addresses from DNS names.
func splitNames(names []string) (dns []string, ips []net.IP) {
	for _, name := range names {
		ip := net.ParseIP(name)
		if ip == nil {
			dns = append(dns, strings.ToLower(name))
			continue
		}
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		ips = append(ips, ip)
	}
	return dns, ips
}
