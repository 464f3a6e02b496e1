package install

import (
	"context"
	"slices"
	"strings"

	"naru/pkg/bootstrap"
	"naru/pkg/bootstrap/certsd"
)

// harborFilesScript prints what a node has of a Harbor: below $1 the files of which the
// first line is $3 or $4, and $2.
const harborFilesScript = `for f in "$1"/*/hosts.toml; do
  [ -e "$f" ] || continue
  IFS= read -r l <"$f" || true
  if [ "$l" = "$3" ] || [ "$l" = "$4" ]; then printf '%s\n' "$f"; fi
done
[ ! -e "$2" ] || printf '%s\n' "$2"`

// formerHarbor are the files that a node has of a Harbor beside those that it is to have:
// of one that the site has no longer, or under another name. The authority comes last.
func formerHarbor(ctx context.Context, h *bootstrap.Host, wanted []bootstrap.File) ([]string, error) {
	out, err := h.Script(ctx, harborFilesScript, certsd.Dir, harborCAFile, certsd.Mark, certsd.OwnMark)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Split(out, "\n"), func(path string) bool {
		return path == "" || slices.ContainsFunc(wanted, func(f bootstrap.File) bool { return f.Path == path })
	}), nil
}

// forgetHarbor removes such files, each with the folder of its registry.
func forgetHarbor(ctx context.Context, h *bootstrap.Host, files []string) error {
	for _, path := range files {
		if err := h.Do(ctx, "rm", "-rf", strings.TrimSuffix(path, "/"+certsd.FileName)); err != nil {
			return err
		}
	}
	return nil
}
