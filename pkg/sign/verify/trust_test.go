package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLoadKeys(t *testing.T) {
	dir := t.TempDir()
	a, b := newSigner(t, "a"), newSigner(t, "b")
	write(t, filepath.Join(dir, "a.pub"), a.key.PEM())
	write(t, filepath.Join(dir, "b.pem"), b.key.PEM())
	ring, err := LoadKeys(filepath.Join(dir, "a.pub"), filepath.Join(dir, "b.pem"), filepath.Join(dir, "a.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if got := ring.Keys(); len(got) != 2 || got[0].Name() != filepath.Join(dir, "a.pub") {
		t.Errorf("got %v", got)
	}
	if ring, err := LoadKeys(); err != nil || !ring.Empty() {
		t.Errorf("no files: %v", err)
	}
	if _, err := LoadKeys(filepath.Join(dir, "missing.pub")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if _, err := LoadKeys(dir); err == nil {
		t.Error("a folder was read as a key")
	}
	sparse(t, filepath.Join(dir, "huge.pub"), 1<<40)
	if _, err := LoadKeys(filepath.Join(dir, "huge.pub")); err == nil {
		t.Error("a huge file was read as a key")
	}
}

func TestLoadTrustDir(t *testing.T) {
	dir := t.TempDir()
	a, old, gone := newSigner(t, "a"), newSigner(t, "old"), newSigner(t, "gone")
	write(t, filepath.Join(dir, "a.pub"), a.key.PEM())
	write(t, filepath.Join(dir, "old.pub"), old.key.PEM())
	write(t, filepath.Join(dir, "README"), []byte("not a key"))
	write(t, filepath.Join(dir, ".old.pub.swp"), []byte("not a key"))
	write(t, filepath.Join(dir, revokedDir, "2024-old.pub"), old.key.PEM())
	write(t, filepath.Join(dir, revokedDir, "gone.pem"), gone.key.PEM())
	write(t, filepath.Join(dir, revokedDir, ".keep"), nil)
	ring, err := LoadTrustDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.VerifyBundle(document, a.bundle(t, document)); err != nil {
		t.Error(err)
	}
	for _, s := range []testSigner{old, gone} {
		var revoked *RevokedError
		if _, err := ring.VerifyBundle(document, s.bundle(t, document)); !errors.As(err, &revoked) {
			t.Errorf("%s: got %v, want a RevokedError", s.key.Name(), err)
		}
	}
}

func TestLoadTrustDirRefuses(t *testing.T) {
	if _, err := LoadTrustDir(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	a := newSigner(t, "a")
	tests := map[string]func(dir string){
		"broken key":      func(dir string) { write(t, filepath.Join(dir, "b.pub"), []byte("x")) },
		"folder as a key": func(dir string) { write(t, filepath.Join(dir, "b.pub", "x"), nil) },
		"broken revoked":  func(dir string) { write(t, filepath.Join(dir, revokedDir, "note.txt"), []byte("x")) },
		"revoked a file":  func(dir string) { write(t, filepath.Join(dir, revokedDir), a.key.PEM()) },
		"dangling link": func(dir string) {
			if err := os.Symlink("nowhere", filepath.Join(dir, "b.pub")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, spoil := range tests {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.pub"), a.key.PEM())
		spoil(dir)
		if ring, err := LoadTrustDir(dir); err == nil || ring != nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestDanglingKeyIsNoMissingFolder: a link to nowhere among the keys once read as
// "there is no trust folder", and the revocations in it were forgotten.
func TestDanglingKeyIsNoMissingFolder(t *testing.T) {
	for _, at := range []string{"old.pub", "revoked/old.pub"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "revoked"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("nowhere", filepath.Join(dir, at)); err != nil {
			t.Fatal(err)
		}
		_, err := LoadTrustDir(dir)
		var malformed *MalformedError
		if !errors.As(err, &malformed) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", at, err)
		}
	}
}
