package bootstrap

import (
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"

	"naru/manifest"
)

func has(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q is not in it:\n%s", what, w, text)
		}
	}
}

func TestContainerdConfig(t *testing.T) {
	for version, plugin := range map[string]string{"2.1.5": "io.containerd.cri.v1.runtime", "1.7.30": "io.containerd.grpc.v1.cri"} {
		files, err := ContainerdFiles(ContainerdOptions{Version: version, Pause: "registry.k8s.io/pause:3.10", Restricted: true,
			Site: "oom_score = 5\n[plugins.'" + plugin + "']\nenable_selinux = true\n"})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if _, err := toml.Decode(string(files[0].Content), &got); err != nil {
			t.Fatal(err)
		}
		p := got["plugins"].(map[string]any)[plugin].(map[string]any)
		if p["restrict_oom_score_adj"] != true || p["enable_selinux"] != true || p["containerd"] == nil || got["oom_score"] != int64(5) {
			t.Errorf("%s: %v", version, got)
		}
		has(t, version, string(files[0].Content), "registry.k8s.io/pause:3.10", CertsDir, "SystemdCgroup = true")
	}
	if _, err := ContainerdFiles(ContainerdOptions{Version: "2.1.5", Site: "a = ["}); err == nil {
		t.Error("TOML that is none is taken")
	}
	has(t, "mirror", string(DefaultMirror(CertsDir, []string{"https://10.0.0.1:5000"}, CAFile).Content), `server = "https://10.0.0.1:5000"`, `[host."https://10.0.0.1:5000"]`)
}

func testSite(t *testing.T) *manifest.Site {
	t.Helper()
	s, err := manifest.DecodeSite("site.yaml", []byte(`apiVersion: naru/v1
kind: Site
name: prod
domain: k8s.example.kr
hosts:
  - {name: cp1, address: 10.0.0.11, roles: [control-plane]}
  - {name: cp2, address: 10.0.0.12, roles: [control-plane, worker]}
  - {name: w1, address: 10.0.0.21, roles: [worker], taints: ["gpu=yes:NoSchedule"]}
endpoint: {vip: 10.0.0.100}
kubernetes:
  kubelet: {maxPods: 42, podPidsLimit: null}
  kubeadm: {apiServer: {certSANs: [only.example.kr]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKubeadmConfig(t *testing.T) {
	s := testSite(t)
	data, err := InitConfig(KubeadmOptions{Site: s, Host: s.Host("cp1"), Version: "1.32.13", Token: "abcdef.0123456789abcdef", FixedConntrack: true})
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	has(t, "init", text, "kubernetesVersion: v1.32.13", "controlPlaneEndpoint: 10.0.0.100:8443", "maxPods: 42", "maxPerCore: 0",
		"encryption-provider-config", "audit-policy-file", "only.example.kr", "node-role.kubernetes.io/control-plane")
	if strings.Contains(text, "podPidsLimit") {
		t.Error("null in a patch does not remove")
	}
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var doc map[string]any
		if err := dec.Decode(&doc); err != nil {
			break
		}
		if doc["kind"] == "" {
			t.Errorf("a document without kind: %v", doc)
		}
	}
	if got := Redact("kubeadm join --token abcdef.0123456789abcdef --certificate-key 00ff"); strings.Contains(got, "abcdef") || strings.Contains(got, "00ff") {
		t.Errorf("not redacted: %s", got)
	}
	if taints := Taints(s.Host("cp2")); len(taints) != 0 {
		t.Errorf("a control plane that is a worker too has taints %v", taints)
	}
	if join, err := JoinConfig(KubeadmOptions{Site: s, Host: s.Host("w1"), Version: "1.32.13", Token: "t", CAHash: "sha256:00"}); err != nil || strings.Contains(string(join), "controlPlane:") {
		t.Errorf("a worker joins as a control plane: %v\n%s", err, join)
	}
}

func TestBalancerConfig(t *testing.T) {
	h := HAProxyFile([]Frontend{{Name: "kube-api", Port: 8443, Check: "/readyz", Backends: []Backend{{Name: "cp1", Address: "10.0.0.11:6443"}}}})
	has(t, "haproxy", string(h.Content), "bind :8443", "option httpchk GET /readyz", "server cp1 10.0.0.11:6443 check check-ssl")
	k := KeepalivedFiles(KeepalivedOptions{Interface: "eth0", Address: "10.0.0.11", VIP: "10.0.0.100", RouterID: 100, Priority: 200, Peers: []string{"10.0.0.12"}, Port: 8443})
	has(t, "keepalived", string(k[0].Content), "script_user nobody", "10.0.0.100/32", "unicast_peer", "10.0.0.12")
}

// goodFacts are those of a host that nothing stands against.
func goodFacts(name string) *HostFacts {
	return &HostFacts{OS: "debian", Version: "12", Arch: "amd64", Kernel: "6", CPUs: 4, Memory: 8 << 30, FreeVar: 100 << 30, Hostname: name, MachineID: name,
		CgroupV2: true, DefaultRoute: true, Systemd: true, Listening: map[int]bool{}, Nameservers: []string{"10.0.0.1", "10.0.0.2"}}
}

func TestPreflightFindsEverythingAtOnce(t *testing.T) {
	s := testSite(t)
	needs := Needs{Site: s, Platforms: []string{"linux/amd64"}, DepotMissing: map[string]int64{"cp1": 1 << 30}, Now: time.Now(), BalancerPorts: []int{5443, 443}, NodePorts: []int{30003},
		Systems: []*manifest.Distribution{{DistributionSpec: manifest.DistributionSpec{ID: "debian-12", OS: "debian", Versions: []string{"12"}}}}}
	hosts := func() []*Host {
		var out []*Host
		for i := range s.Hosts {
			out = append(out, &Host{SiteHost: &s.Hosts[i], Facts: goodFacts(s.Hosts[i].Name)})
		}
		return out
	}
	if found := Check(hosts(), needs); len(found) != 0 {
		t.Errorf("good hosts: %v", found)
	}
	cutOff := hosts() // after the packages were installed, which starts HAProxy as Debian has it
	cutOff[0].Facts.Ours, cutOff[0].Facts.Balancing = s.Name, []string{"haproxy"}
	if found := Check(cutOff, needs); len(found) != 0 {
		t.Errorf("after an apply that was cut off: %v", found)
	}
	for check, c := range map[string]struct {
		change  func([]*Host)
		host    string
		warning bool
	}{
		"platform":           {func(h []*Host) { h[0].Facts.Arch = "arm64" }, "cp1", false},
		"distribution":       {func(h []*Host) { h[1].Facts.Version = "11" }, "cp2", false},
		"cpus":               {func(h []*Host) { h[0].Facts.CPUs = 1 }, "cp1", false},
		"memory":             {func(h []*Host) { h[2].Facts.Memory = 1 << 28 }, "w1", false},
		"disk":               {func(h []*Host) { h[0].Facts.FreeVar = 8<<30 + 1 }, "cp1", false},                        // the depot needs more
		"disk again":         {func(h []*Host) { h[0].Facts.Ours, h[0].Facts.FreeVar = s.Name, 1<<30+1 }, "cp1", false}, // for another bundle
		"ports":              {func(h []*Host) { h[0].Facts.Listening[6443] = true }, "cp1", false},
		"default-route":      {func(h []*Host) { h[2].Facts.DefaultRoute = false }, "w1", false},
		"dns":                {func(h []*Host) { h[2].Facts.DNSWait = 10 * time.Second }, "w1", false},
		"dns none":           {func(h []*Host) { h[2].Facts.Nameservers = nil }, "w1", false},
		"dns silent":         {func(h []*Host) { h[2].Facts.Silent = h[2].Facts.Nameservers }, "w1", false},
		"dns half":           {func(h []*Host) { h[2].Facts.Silent = h[2].Facts.Nameservers[:1] }, "w1", true},
		"ports depot":        {func(h []*Host) { h[0].Facts.Listening[5443] = true }, "cp1", false},
		"ports harbor":       {func(h []*Host) { h[0].Facts.Listening[443] = true }, "cp1", false},
		"ports node":         {func(h []*Host) { h[2].Facts.Listening[30003] = true }, "w1", false},
		"clock":              {func(h []*Host) { h[1].Facts.Skew = 10 * time.Minute }, "cp2", false},
		"machine-id":         {func(h []*Host) { h[1].Facts.MachineID = "cp1" }, "", false},
		"container-runtimes": {func(h []*Host) { h[1].Facts.Runtimes = []string{"dockerd"} }, "cp2", false},
		"balancer":           {func(h []*Host) { h[0].Facts.Balancing = []string{"haproxy"} }, "cp1", false},
		"leftovers":          {func(h []*Host) { h[1].Facts.Leftovers = []string{"/var/lib/etcd/member"} }, "cp2", false},
		"kernel":             {func(h []*Host) { h[1].Facts.Missing = []string{"overlay"} }, "cp2", false},
		"cgroups":            {func(h []*Host) { h[2].Facts.CgroupV2 = false }, "w1", true},
		"swap":               {func(h []*Host) { h[2].Facts.Swap = 1 << 30 }, "w1", true},
	} {
		list := hosts()
		c.change(list)
		found := Check(list, needs)
		ok := false
		for _, f := range found {
			ok = ok || f.Check == strings.Fields(check)[0] && f.Host == c.host && f.Warning == c.warning && f.What != "" && f.Mend != ""
		}
		if !ok {
			t.Errorf("%s on %q is not found: %v", check, c.host, found)
		}
	}
}
