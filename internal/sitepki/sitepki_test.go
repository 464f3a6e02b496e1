package sitepki

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
)

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
		cert, key, err := a.Issue("x", c.names)
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
