package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/manifest"
)

// TestKernelIsNotLowered: naru's least of a kernel parameter took the place of the more
// that a distribution or an administrator gives, now and at each boot.
func TestKernelIsNotLowered(t *testing.T) {
	r := newOwnRoot(t)
	h := &Host{SiteHost: &manifest.SiteHost{Name: "a"}, Runner: r}
	have := map[string]string{
		"net/ipv4/ip_forward": "0", "net/bridge/bridge-nf-call-iptables": "1", "net/bridge/bridge-nf-call-ip6tables": "0",
		"fs/inotify/max_user_instances": "128", "fs/inotify/max_user_watches": "2000000", "vm/max_map_count": "1048576",
	}
	for name, value := range have {
		r.write(t, "/proc/sys/"+name, value+"\n")
	}
	if err := h.ApplyKernel(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-ip6tables": "1", "fs/inotify/max_user_instances": "8192"}
	files := r.files(t)
	for name, value := range have {
		if more, ok := want[name]; ok {
			value = more
		}
		if got := files["/proc/sys/"+name]; got != value+"\n" {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if held, err := h.KernelHolds(t.Context()); !held || err != nil {
		t.Errorf("it does not hold: %v, %v", held, err)
	}
	for _, f := range NodeFiles() {
		// Distributions raise it in 10-map-count.conf: the last file that sets a key holds.
		if strings.Contains(string(f.Content), "vm.max_map_count") && f.Path > "/etc/sysctl.d/10" {
			t.Errorf("%s comes after the distribution's", f.Path)
		}
	}
	if err := os.Remove(filepath.Join(string(r), "/proc/sys/vm/max_map_count")); err != nil {
		t.Fatal(err)
	}
	if held, err := h.KernelHolds(t.Context()); held || err != nil {
		t.Errorf("without one it holds: %v, %v", held, err)
	}
}
