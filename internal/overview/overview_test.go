package overview

import (
	"slices"
	"testing"

	"naru/manifest"
)

// TestSizes counts what the lock knows, and what it does not.
func TestSizes(t *testing.T) {
	sel := &manifest.Selection{Platforms: []string{"linux/amd64"}, Components: []*manifest.ComponentSpec{{
		ID: "a", Images: []manifest.Image{{Ref: "quay.io/a/b:1.0.0"}, {Ref: "docker.io/a/c:1.0.0"}},
		Charts: []manifest.Chart{{Name: "a", Version: "1.0.0", Repository: "oci://ghcr.io/a/charts"}},
		Files: []manifest.File{{Name: "f", Sources: []manifest.FileSource{
			{Platform: "linux/amd64", URL: "https://dl.lab.test/a"}, {Platform: "linux/arm64", URL: "https://dl.lab.test/b"}}}},
	}}, Pulled: map[string]string{"a": "b"}}
	lock := manifest.NewLock("r")
	lock.Images = []manifest.LockedImage{{Ref: "quay.io/a/b:1.0.0", Platforms: []manifest.LockedPlatform{
		{Platform: "linux/amd64", Content: 100}, {Platform: "linux/arm64", Content: 1000}}}}
	lock.Files = []manifest.LockedFile{{URL: "https://dl.lab.test/a", Size: 7}, {URL: "https://dl.lab.test/b", Size: 5}}
	list := Of(sel, lock)
	if got := Total(list); got != (Size{Known: 107, Unknown: 2}) || list[0].PulledInBy != "b" {
		t.Errorf("got %+v, %+v", got, list[0])
	}
	if got := Total(Of(sel, nil)); got != (Size{Unknown: 4}) {
		t.Errorf("without a lock: %+v", got)
	}
	var names []string
	for _, h := range Hosts(sel, lock) {
		names = append(names, h.Name)
	}
	if !slices.Equal(names, []string{"dl.lab.test", "docker.io", "ghcr.io", "quay.io"}) {
		t.Errorf("hosts %q", names)
	}
}
