package bootstrap

import (
	"bytes"
	"context"
	"strings"
)

// Files that a service of the distribution reads, and naru writes, begin with ownMark.
// One without it is somebody's own.
const ownMark = "# Written by naru"

// beforeSuffix ends the name under which such a file stays beside naru's.
const beforeSuffix = ".before-naru"

// ownScript defines own, which tells whether naru wrote the file $1.
const ownScript = `own() {
  l=
  [ ! -f "$1" ] || IFS= read -r l <"$1" || true
  case $l in "` + ownMark + `"*) return 0;; esac
  return 1
}
`

// shippedScript defines shipped, which tells whether the unit $1 runs as its package brought
// it, the configuration $2 with it: dpkg starts what it installs.
const shippedScript = `shipped() {
  dpkg-query -W -f '${Conffiles}\n' "$1" 2>/dev/null | grep -qF " $2 " || return 1
  [ -z "$(dpkg -V "$1" 2>/dev/null | grep ' c /')" ] && [ ! -e "/etc/systemd/system/$1.service" ] && [ ! -e "/etc/systemd/system/$1.service.d" ]
}
`

// keepScript copies those of the files that naru did not write, and prints their copies.
// One of which there is a copy already is not copied again.
const keepScript = ownScript + `for f in "$@"; do
  if [ ! -f "$f" ] || own "$f"; then continue; fi
  s=$(sha256sum <"$f")
  n=1
  to=$f` + beforeSuffix + `
  while [ -e "$to" ] && [ "$(sha256sum <"$to")" != "$s" ]; do
    n=$((n+1))
    to=$f` + beforeSuffix + `.$n
  done
  [ ! -e "$to" ] || continue
  t=$(mktemp "${f%/*}/.naru.XXXXXX")
  cp -p "$f" "$t"
  sync "$t"
  mv "$t" "$to"
  echo "$to"
done`

// KeepForeign copies what stands in the place of files, and is not naru's, beside it, so
// that it can be had again once they are written. It returns the paths of new copies.
// Files that bear no mark of naru's are passed over: they lie where nobody else writes.
func (h *Host) KeepForeign(ctx context.Context, files []File) ([]string, error) {
	var paths []string
	for _, f := range files {
		if bytes.HasPrefix(f.Content, []byte(ownMark)) {
			paths = append(paths, f.Path)
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	out, err := h.Script(ctx, keepScript, paths...)
	return strings.Fields(out), err
}
