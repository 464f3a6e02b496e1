package install

import (
	"os"
	"path/filepath"
	"testing"

	"naru/internal/carried"
	"naru/internal/intake"
	"naru/manifest"
)

func TestRoomOfADepot(t *testing.T) {
	dir, media := t.TempDir(), newBundle(t, "")
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{media}, SkipVerify: true}))(t)
	defer func() { _ = b.Close() }()
	c, size := clusterOf(scripted(here), manifest.SiteHost{Name: "depot", Address: "10.0.0.1", Roles: []string{manifest.RoleControlPlane}}), int64(0)
	c.Site.Depot.Dir = filepath.Join(dir, "not", "there yet")
	c.Set = &carried.Set{Bundles: []*intake.Bundle{b}}
	for _, v := range b.Volumes() {
		size += v.Info.Size()
	}
	look := func(want int64) {
		t.Helper()
		if r, err := c.depotRoom(t.Context(), c.Hosts[0]); err != nil || r.missing != want || r.free <= 0 {
			t.Errorf("%+v, %v, want %d bytes missing", r, err, want)
		}
	}
	look(size)
	to := c.bundleDir(b)
	ok(t, os.MkdirAll(to, 0o755))
	for _, v := range b.Volumes() {
		ok(t, os.WriteFile(filepath.Join(to, filepath.Base(v.Path)), must(os.ReadFile(v.Path))(t), 0o600))
	}
	look(0)
	ok(t, os.RemoveAll(to))
	c.Site.Hosts[0].Local = true // linked from where it lies, if that is the same file system
	r := must(c.depotRoom(t.Context(), c.Hosts[0]))(t)
	if r.missing != 0 {
		t.Errorf("%+v, want nothing missing", r)
	}
}
