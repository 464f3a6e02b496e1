package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/internal/dossier"
	"naru/test/lab/upstream"
)

// TestDossierIsMadeAgainFromTheBundle compares what a build lays beside the volumes
// with what the command makes of the bundle alone.
func TestDossierIsMadeAgainFromTheBundle(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	first := result[build.Result](t, bundle(t, w.build("--network-class", "S", "--output", "json")...))
	laid := filepath.Join(w.out(), dossier.Folder)
	again := filepath.Join(w.dir, "again")
	made := result[dossierResult](t, bundle(t, "dossier", w.out(), "--key", w.key+".pub", "--out", again, "--output", "json"))
	if made.Bundle != first.Bundle || len(made.Files) != 7 {
		t.Errorf("made: %+v", made)
	}
	for _, name := range made.Files {
		a, b := must(os.ReadFile(filepath.Join(laid, name)))(t), must(os.ReadFile(filepath.Join(again, name)))(t)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", name)
		}
	}
	page := string(must(os.ReadFile(filepath.Join(laid, "dossier.ko.html")))(t))
	for _, word := range []string{"S (민감, Sensitive)", strings.TrimPrefix(first.Bundle, "sha256:"), first.Volumes[0].SHA256, filepath.Base(w.volume())} {
		if !strings.Contains(page, word) {
			t.Errorf("the page does not say %q", word)
		}
	}
	rerun := result[build.Result](t, bundle(t, w.build("--network-class", "S", "--output", "json")...))
	if !rerun.UpToDate {
		t.Errorf("a rerun wrote the bundle again: %+v", rerun)
	}
	if o := bundle(t, w.build("--network-class", "X")...); o.code != cli.ExitUsage {
		t.Errorf("class X: %d\n%s", o.code, o.stderr)
	}
}

// TestChangedDossierIsRefusedAndMended: the papers are under SHA256SUMS.
func TestChangedDossierIsRefusedAndMended(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	paper := filepath.Join(w.out(), dossier.Folder, "assets.ko.csv")
	was := must(os.ReadFile(paper))(t)
	ok(t, os.WriteFile(paper, append(was, '\n'), 0o644))
	if o := bundle(t, "verify", w.out(), "--key", w.key+".pub"); o.code != cli.ExitIntegrity || !strings.Contains(o.stderr, "assets.ko.csv") {
		t.Errorf("verify: %d\n%s", o.code, o.stderr)
	}
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if !bytes.Equal(must(os.ReadFile(paper))(t), was) {
		t.Error("the rerun left the changed paper")
	}
}

func TestDossierNamesWhatChanged(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	o := bundle(t, "dossier", w.out(), "--key", w.key+".pub", "--previous", w.out(), "--lang", "en", "--out", filepath.Join(w.dir, "same"))
	if o.code != 0 {
		t.Fatal(o.stderr)
	}
	page := string(must(os.ReadFile(filepath.Join(w.dir, "same", "dossier.en.html")))(t))
	if !strings.Contains(page, "Previous bundle") || strings.Contains(page, "<td>Added</td>") {
		t.Error("a bundle against itself has changes, or none were looked for")
	}
	other := w.newKey("other")
	if o := bundle(t, "dossier", w.out(), "--key", other+".pub"); o.code != cli.ExitTrust {
		t.Errorf("foreign key: %d\n%s", o.code, o.stderr)
	}
}
