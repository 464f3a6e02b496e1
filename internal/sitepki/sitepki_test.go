package sitepki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
)

// unconstrained is a copy of a certificate that Covers finds no constraints in.
func unconstrained(c *x509.Certificate) *x509.Certificate {
	out := *c
	out.PermittedDNSDomains, out.PermittedIPRanges = nil, nil
	return &out
}

func TestCertificatesOfTheSite(t *testing.T) {
	a, err := New("prod", []string{"k8s.example.kr"}, Networks([]string{"10.1.2.3"}, []string{"127.0.0.0/8"}))
	if err != nil {
		t.Fatal(err)
	}
	if a, err = Load(a.PEM, a.KeyPEM); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	for name, c := range map[string]struct {
		names []string
		ask   string
		ok    bool
	}{
		"inside":           {[]string{"harbor.k8s.example.kr", "10.1.2.200"}, "harbor.k8s.example.kr", true},
		"address":          {[]string{"10.1.2.200"}, "10.1.2.200", true},
		"another domain":   {[]string{"example.com"}, "example.com", false},
		"another network":  {[]string{"192.0.2.1"}, "192.0.2.1", false},
		"one of two is in": {[]string{"harbor.k8s.example.kr", "example.com"}, "harbor.k8s.example.kr", false},
	} {
		var outside *OutsideError
		if err := a.Covers(c.names); errors.As(err, &outside) == c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := a.Issue("x", c.names); (err == nil) != c.ok {
			t.Errorf("%s: issued what nobody accepts, or not what everybody does: %v", name, err)
		}
		free := *a // what verifiers do with such a certificate is looked at all the same
		free.Cert = unconstrained(a.Cert)
		cert, key, err := free.Issue("x", c.names)
		if err != nil || len(key) == 0 {
			t.Fatal(err)
		}
		block, _ := pem.Decode(cert)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{DNSName: c.ask, Roots: roots})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if !a.Fits(cert, c.names) || a.Fits(cert, append(c.names, "more")) {
			t.Errorf("%s: fits what it should not, or the reverse", name)
		}
	}
}
