package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodSite = `apiVersion: naru/v1
kind: Site
name: prod
domain: k8s.example.kr
hosts:
  - {name: lb1, address: 10.0.0.5, roles: [lb, depot]}
  - {name: cp1, address: 10.0.0.11, roles: [control-plane], ssh: {user: ops, fingerprints: ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]}}
  - {name: cp2, address: 10.0.0.12, roles: [control-plane, worker]}
  - {name: w1, address: 10.0.0.21, roles: [worker], disks: [/dev/sdb], taints: ["gpu=yes:NoSchedule"], labels: {a: b}}
ssh: {keyFile: ~/.ssh/id, jump: {address: bastion.example.kr}}
kubernetes:
  kubelet: {imageGCHighThresholdPercent: 100, evictionHard: {nodefs.available: 1Gi}}
  kubeProxy: {conntrack: {maxPerCore: 0, min: 0}}
components:
  without: [rook]
  values: {demo: {replicas: 3, list: [a, {b: c}]}}
`

func TestSiteDefaultsAndRoles(t *testing.T) {
	s, err := DecodeSite("site.yaml", []byte(goodSite))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.APIEndpoint(); got.String() != "10.0.0.5:6443" {
		t.Errorf("endpoint %s", got)
	}
	if d := s.Depots(); len(d) != 1 || d[0].Name != "lb1" {
		t.Errorf("depots %v", d)
	}
	if w := s.Workers(); len(w) != 1 || w[0].Name != "w1" {
		t.Errorf("workers %v", w)
	}
	if s.DNSService() != "10.96.0.10" || s.Harbor.Host != "harbor.k8s.example.kr" || s.Depot.Port != DefaultDepotPort {
		t.Errorf("%s %+v %+v", s.DNSService(), s.Harbor, s.Depot)
	}
	if c := s.SSHFor(s.Host("cp1")); c.User != "ops" || c.KeyFile != "~/.ssh/id" || c.Jump.Port != 22 || len(c.Fingerprints) != 1 {
		t.Errorf("%+v", c)
	}
	if c := s.SSHFor(s.Host("cp2")); c.User != "root" || len(c.Fingerprints) != 0 {
		t.Errorf("another host's settings: %+v", c)
	}
	f := s.Facts("r", "1.32.13").For(s, "demo", nil)
	if f.Depot != "https://10.0.0.5:5000" {
		t.Errorf("depot %q", f.Depot)
	}
	if len(f.Nodes) != 3 || f.Nodes[2].Disks[0] != "/dev/sdb" || f.Values["replicas"] != 3 || f.Harbor.NodePort != DefaultHarborPort {
		t.Errorf("%+v", f)
	}
}

func TestEndpoints(t *testing.T) {
	head := "apiVersion: naru/v1\nkind: Site\nname: a\ndomain: a.b\nhosts:\n"
	cp, lb := "  - {name: cp1, address: 10.0.0.1, roles: [control-plane]}\n", "  - {name: lb1, address: 10.0.0.2, roles: [lb]}\n  - {name: lb2, address: 10.0.0.3, roles: [lb]}\n"
	for name, c := range map[string]struct {
		text, want string
		balancers  int
	}{
		"one host":     {cp, "10.0.0.1:6443", 0},
		"lb and vip":   {cp + lb + "endpoint: {vip: 10.0.0.9}\n", "10.0.0.9:6443", 2},
		"shared vip":   {cp + "endpoint: {vip: 10.0.0.9}\n", "10.0.0.9:8443", 1},
		"external":     {cp + "endpoint: {external: 'api.a.b:443'}\n", "api.a.b:443", 0},
		"lb is cp too": {strings.Replace(cp, "control-plane", "control-plane, lb", 1), "10.0.0.1:8443", 1},
	} {
		s, err := DecodeSite("site.yaml", []byte(head+c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.APIEndpoint().String(); got != c.want || len(s.Balancers()) != c.balancers {
			t.Errorf("%s: %s with %d balancers, want %s with %d", name, got, len(s.Balancers()), c.want, c.balancers)
		}
	}
}

// TestSiteMistakes: every mistake is named, each with its line.
func TestSiteMistakes(t *testing.T) {
	text := `apiVersion: naru/v1
kind: Site
name: Prod
domain: k8s.example.kr
hosts:
  - {name: cp1, address: 10.0.0.11, roles: [control-plain]}
  - {name: cp1, address: 10.244.0.1, roles: [worker], taints: [x]}
endpoint: {vip: 10.0.0.11, external: a}
network: {services: 10.244.0.0/20}
harbor: {mode: external, password: {env: A, file: b}}
pki: {caFile: a}
`
	_, err := DecodeSite("site.yaml", []byte(text))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`site.yaml:3:7: name "Prod"`, `site.yaml:6:45: role "control-plain"`, `did you mean "control-plane"`, `host "cp1" is listed twice`,
		`no host has the role control-plane`, `holds the address of host "cp1"`, `taint "x"`, `external and vip`, `external "a"`, `overlap`,
		`by file or by env`, `needs user and password`, `caFile and caKeyFile`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not said: %s", want)
		}
	}
	var source *SourceError
	if !errors.As(err, &source) || source.Line == 0 {
		t.Errorf("%v", err)
	}
	for _, unknown := range []string{"hots: []", "kubernetes: {kubelet: {a: 1, a: 2}}", "kubernetes: {kubelet: &x {a: 1}}", "ssh: {password: x}",
		"depot: {dir: /srv/two words}", `depot: {dir: "/srv/a\nExecStart=/bin/b"}`, "depot: {dir: /srv/%n}", "depot: {dir: srv}", "depot: {dir: /srv/../etc}"} {
		if _, err := DecodeSite("s.yaml", []byte(goodSite+unknown+"\n")); err == nil {
			t.Errorf("%s is taken", unknown)
		}
	}
}

// TestHarborPort: without HAProxy nothing else than the node port answers.
func TestHarborPort(t *testing.T) {
	const site = "apiVersion: naru/v1\nkind: Site\nname: a\ndomain: a.test\nhosts: [{name: a, address: 10.0.0.1, roles: [control-plane]}]\n"
	for text, good := range map[string]bool{
		"":                                true,
		"harbor: {nodePort: 30443}":       true,
		"harbor: {port: 443}":             false,
		"harbor: {port: 30003}":           true,
		"harbor: {mode: none, port: 443}": true,
		"harbor: {port: 443}\nendpoint: {vip: 10.0.0.9}": true,
	} {
		if _, err := DecodeSite("s.yaml", []byte(site+text+"\n")); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLocalSite(t *testing.T) {
	s := LocalSite("box", "192.0.2.7")
	if s.APIEndpoint().String() != "192.0.2.7:6443" || len(s.Nodes()) != 1 || s.Depots()[0].Name != "box" || s.Network.Pods != DefaultPodCIDR {
		t.Errorf("%+v", s)
	}
}

// TestEmptySecret: a file that was made and not filled is no secret.
func TestEmptySecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for content, want := range map[string]string{"": "", "\n": "", "word\r\n": "word"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&SecretRef{File: path}).Value()
		var missing *SecretError
		if got != want || (want == "") != errors.As(err, &missing) {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
}
