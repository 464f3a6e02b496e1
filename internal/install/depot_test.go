package install

import (
	"os"
	"path/filepath"
	"slices"
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

// TestAuthorityIsMadeFirst: where as many hosts as are worked on at a time stood before
// the depot in the site file, all of them waited for what the depot's turn would make.
func TestAuthorityIsMadeFirst(t *testing.T) {
	c := clusterOf(scripted(here), manifest.SiteHost{Name: "cp", Address: "10.0.0.1", Roles: []string{manifest.RoleControlPlane}},
		manifest.SiteHost{Name: "w", Address: "10.0.0.2", Roles: []string{manifest.RoleWorker}}, manifest.SiteHost{Name: "lb", Address: "10.0.0.3", Roles: []string{manifest.RoleLB}})
	c.Set = &carried.Set{}
	var order []string
	for _, task := range depotPhase().Tasks(c) {
		if !slices.Contains(order, task.Host) {
			order = append(order, task.Host)
		}
	}
	if !slices.Equal(order, []string{"lb", "cp", "w"}) {
		t.Errorf("the hosts' turns: %v", order)
	}
}
