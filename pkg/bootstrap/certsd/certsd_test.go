package certsd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func steady() Steady {
	return Steady{
		Registries: map[string]string{"docker.io": "docker.io", "localhost:5000": "localhost_5000"},
		Harbor:     "https://harbor.site", Depots: []string{"https://depot.site:5443"}, HarborCA: "/etc/naru/ca.crt", DepotCA: "/etc/naru/ca.crt",
		User: "robot$naru-pull-1", Secret: "planted",
	}
}

func TestFiles(t *testing.T) {
	files, err := steady().Files()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Server string
		CA     string
		Host   map[string]struct {
			Capabilities []string
			Override     bool `toml:"override_path"`
			CA           string
			Header       map[string][]string
		}
	}
	meta, err := toml.Decode(string(files["localhost_5000_/hosts.toml"]), &doc)
	if err != nil {
		t.Fatal(err)
	}
	if doc.Server != "https://depot.site:5443" || doc.CA == "" || len(doc.Host) != 2 || len(meta.Undecoded()) > 0 {
		t.Errorf("file %+v, %v", doc, meta.Undecoded())
	}
	harbor := doc.Host["https://harbor.site/v2/localhost_5000"]
	if !harbor.Override || harbor.CA == "" || harbor.Header["Authorization"][0] != "Basic cm9ib3QkbmFydS1wdWxsLTE6cGxhbnRlZA==" {
		t.Errorf("Harbor %+v", harbor)
	}
	text := string(files["docker.io/hosts.toml"])
	if strings.Index(text, "harbor.site") > strings.LastIndex(text, "[host.\"https://depot.site:5443\"]") {
		t.Errorf("the depot comes before Harbor:\n%s", text)
	}
}

func TestNoFileWithoutOurServer(t *testing.T) {
	s := steady()
	s.Depots = nil
	if _, err := s.Files(); err == nil {
		t.Error("without a depot the upstream registry would be asked")
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	files, err := steady().Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{3, 0} {
		differ, err := Differ(dir, files)
		if err != nil || len(differ) != want {
			t.Fatalf("differ %v, %v, want %d", differ, err, want)
		}
		if err := Write(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "docker.io", FileName)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != Mode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if differ, err := Differ(dir, files); err != nil || len(differ) != 1 {
		t.Errorf("a file that all can read: %v, %v", differ, err)
	}
}

func TestHarborItself(t *testing.T) {
	files, err := steady().Files()
	if err != nil {
		t.Fatal(err)
	}
	text := string(files["harbor.site/hosts.toml"])
	if !strings.Contains(text, "[host.\"https://harbor.site\"]") || strings.Contains(text, "Authorization") || strings.Contains(text, "depot") || strings.HasPrefix(text, Mark) {
		t.Errorf("Harbor's own file:\n%s", text)
	}
}

func TestFolders(t *testing.T) {
	for _, host := range []string{"docker.io", "localhost:5000", "a_b.site:443", "registry.k8s.io"} {
		if got := Registry(Folder(host)); got != host {
			t.Errorf("%q became %q", host, got)
		}
	}
}
