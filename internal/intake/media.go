package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"naru/pkg/sign/verify"
)

// ErrSumsUnsigned says that a folder has a SHA256SUMS whose signature is missing.
var ErrSumsUnsigned = errors.New("SHA256SUMS has no signature beside it")

// CheckMedia checks the files that lie beside the volumes, such as the install
// program, against the signed SHA256SUMS of the folders of the volumes. The
// volumes themselves are left out: verifying the bundle says more of them. A file
// has to lie in one of the folders, and every copy has to be right. It reports how
// many files it checked, 0 where no folder has a SHA256SUMS. Errors are those of
// package verify and ErrSumsUnsigned.
func CheckMedia(ctx context.Context, o Options, b *Bundle) (int, error) {
	if o.SkipVerify {
		return 0, nil
	}
	ring, err := o.keyring()
	if err != nil {
		return 0, err
	}
	volumes := map[string]bool{}
	dirs := map[string]bool{}
	for _, v := range b.Volumes() {
		volumes[filepath.Base(v.Path)] = true
		dirs[filepath.Dir(v.Path)] = true
	}
	for _, p := range o.Paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			dirs[filepath.Clean(p)] = true
		}
	}
	all := slices.Sorted(maps.Keys(dirs))
	rest, err := beside(ring, all, volumes)
	if err != nil || len(rest) == 0 {
		return 0, err
	}
	return len(rest), verify.CheckSums(ctx, all, rest, verify.CheckOptions{})
}

// beside lists, once each, what the SHA256SUMS of the folders have beside volumes.
func beside(ring *verify.Keyring, dirs []string, volumes map[string]bool) ([]verify.Sum, error) {
	var out []verify.Sum
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, verify.SumsName)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		sums, _, err := ring.OpenSums(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("checking the files in %q: %w", dir, ErrSumsUnsigned)
		}
		if err != nil {
			return nil, err
		}
		for _, s := range sums {
			if !volumes[s.Name] && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out, nil
}
