package manifest_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

func lockedChart(name, version string) manifest.LockedChart {
	return manifest.LockedChart{Component: "app", Name: name, Version: version, Repository: "https://charts.example", Digest: digest.FromString(name + version),
		Size: 1, Source: "https://charts.example/" + name + ".tgz", PinnedBy: manifest.PinnedBySite}
}

func TestLockedChartsRoundTrip(t *testing.T) {
	lock := manifest.NewLock("r")
	lock.Charts = []manifest.LockedChart{lockedChart("zebra", "1.0.0"), lockedChart("ant", "2.0.0+up1")}
	lock.Charts[1].Provenance = digest.FromString("prov")
	data, err := lock.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.DecodeLock("lock.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Charts[0].Name != "ant" {
		t.Errorf("charts are not sorted: %v", got.Charts)
	}
	if diff := cmp.Diff(lock, got); diff != "" {
		t.Error(diff)
	}
	spec := &manifest.Chart{Name: "ant", Version: "2.0.0+up1", Repository: "https://charts.example"}
	if got.Chart("app", spec) == nil {
		t.Error("the chart is not found under its own version")
	}
	spec.Version = "2.0.1"
	if got.Chart("app", spec) != nil {
		t.Error("another version of the chart counts as pinned")
	}
}

func TestLockedChartsRefused(t *testing.T) {
	for name, change := range map[string]func(*manifest.LockedChart){
		"digest":     func(c *manifest.LockedChart) { c.Digest = "md5:00" },
		"manifest":   func(c *manifest.LockedChart) { c.Manifest = "x" },
		"provenance": func(c *manifest.LockedChart) { c.Provenance = "x" },
		"name":       func(c *manifest.LockedChart) { c.Name = "../x" },
	} {
		lock := manifest.NewLock("r")
		c := lockedChart("ant", "1.0.0")
		change(&c)
		lock.Charts = []manifest.LockedChart{c}
		data, err := lock.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.DecodeLock("lock.yaml", data); err == nil {
			t.Errorf("a chart with a wrong %s was taken", name)
		}
	}
	twice := manifest.NewLock("r")
	twice.Charts = []manifest.LockedChart{lockedChart("ant", "1.0.0"), lockedChart("ant", "2.0.0")}
	data, _ := twice.Encode()
	if _, err := manifest.DecodeLock("lock.yaml", data); err == nil {
		t.Error("a chart that is locked twice was taken")
	}
}

func TestLockedChartsMerge(t *testing.T) {
	base, over := manifest.NewLock("r"), manifest.NewLock("r")
	base.Charts = []manifest.LockedChart{lockedChart("ant", "1.0.0"), lockedChart("bee", "1.0.0")}
	over.Charts = []manifest.LockedChart{lockedChart("bee", "2.0.0")}
	got := base.Merge(over)
	want := []manifest.LockedChart{lockedChart("ant", "1.0.0"), lockedChart("bee", "2.0.0")}
	if diff := cmp.Diff(want, got.Charts); diff != "" {
		t.Error(diff)
	}
}

func TestKeyringThatIsNotThere(t *testing.T) {
	for _, name := range []string{"nobody", "../keyrings/README", ""} {
		_, err := manifest.Keyring(name)
		var none *manifest.NoKeyringError
		if !errors.As(err, &none) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("keyring %q: %v", name, err)
		}
	}
}

func TestDiscoveryFields(t *testing.T) {
	head := "apiVersion: naru/v1\nkind: Component\nid: x\nversion: \"1\"\n"
	good := head + "apiVersions: [v1, monitoring.coreos.com/v1, cilium.io/v2alpha1/CiliumNode]\nnotImages: [{ref: \"a.b/c:1\", note: a metric}]\nallow: [{url: \"https://kubernetes.io/docs/\", note: help}]\n"
	if _, err := manifest.DecodeComponent("components/x.yaml", []byte(good)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"apiVersions: [\"Monitoring/1\"]\n", "notImages: [{ref: a}]\n", "allow: [{url: github.com}]\n", "allow: [{url: \"https://u:p@h/\", note: x}]\n"} {
		if _, err := manifest.DecodeComponent("components/x.yaml", []byte(head+bad)); err == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}
