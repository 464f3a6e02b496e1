//go:build unix

package verify

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestCheckSumsDoesNotBlock has a pipe in the place of a file, which nobody writes.
func TestCheckSumsDoesNotBlock(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wrong *SumsError
	err := CheckSums(t.Context(), []string{dir}, []Sum{{Name: "a", Digest: digestA}}, CheckOptions{})
	if !errors.As(err, &wrong) {
		t.Errorf("got %v, want a SumsError", err)
	}
	if _, err := LoadKeys(filepath.Join(dir, "a")); err == nil {
		t.Error("a pipe was read as a key")
	}
}

// TestCheckSumsFollowsLinks is for folders of links to the volumes of several discs.
func TestCheckSumsFollowsLinks(t *testing.T) {
	disc, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(disc, "a"), []byte("volume"))
	if err := os.Symlink(filepath.Join(disc, "a"), filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := CheckSums(t.Context(), []string{dir}, []Sum{{Name: "a", Digest: digest.FromString("volume")}}, CheckOptions{}); err != nil {
		t.Error(err)
	}
}
