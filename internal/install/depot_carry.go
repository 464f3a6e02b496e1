package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"naru/internal/intake"
	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// completeName marks the folder of a bundle whose volumes are all there.
const completeName = ".complete"

// bundleDir is where a bundle lies on a depot.
func (c *Cluster) bundleDir(b *intake.Bundle) string {
	return path.Join(c.Site.Depot.Dir, b.BundleDigest().Encoded()[:16])
}

// verifiedDir is the folder beside the volumes of a bundle on a depot with a note a volume:
// its SHA-256 as it was when the volume arrived and was verified ("linked" for one that is
// the medium's own file), and which file that was.
const verifiedDir = ".verified"

// volumesScript prints those of the volumes in $1, given in pairs of name and size, that
// are not what was verified there. A file that is the one it was, by size, inode, and the
// times of its content and of its inode, is not read again, unless $2 says so; another one
// is what it was when its digest is.
const volumesScript = `d=$1 again=$2; shift 2
while [ $# -ge 2 ]; do
  v=$d/$1 n=$d/.verified/$1 sum= was= ok=no
  [ ! -e "$n" ] || IFS=' ' read -r sum was <"$n" || true
  if [ -n "$sum" ] && [ "$(stat -c %s "$v" 2>/dev/null)" = "$2" ]; then
    id=$(stat -c '%s %i %y %z' "$v")
    if [ "$id" = "$was" ] && [ "$again" = no ]; then
      ok=yes
    elif [ "$sum" != linked ]; then
      s=$(sha256sum <"$v")
      if [ "${s%% *}" = "$sum" ]; then
        ok=yes
        printf '%s %s\n' "$sum" "$id" >"$n.new"; mv -f "$n.new" "$n"
      fi
    fi
  fi
  [ $ok = yes ] || printf '%s\n' "$1"
  shift 2
done`

// verifiedScript notes that the volume $2 in $1 was verified, with its digest $3.
const verifiedScript = `n=$1/.verified/$2
install -d -m 0755 "$1/.verified"
printf '%s %s\n' "$3" "$(stat -c '%s %i %y %z' "$1/$2")" >"$n.new"
sync "$n.new"; mv -f "$n.new" "$n"`

// linked is what stands for the digest of a volume that is the medium's own file.
const linked = "linked"

// depotHas tells whether a depot holds all volumes of a bundle, as they were verified when
// they arrived.
func (c *Cluster) depotHas(ctx context.Context, h *bootstrap.Host, b *intake.Bundle) (bool, error) {
	marked, err := h.Holds(ctx, `[ "$(cat "$1" 2>/dev/null)" = "$2" ]`, path.Join(c.bundleDir(b), completeName), b.BundleDigest().String())
	if err != nil || !marked {
		return false, err
	}
	missing, err := c.missingVolumes(ctx, h, b)
	return len(missing) == 0, err
}

// missingVolumes are the names of a bundle's volumes that a depot does not hold as they
// were verified. A depot that leaves the bundle out has them read again, since something
// may be wrong with them that no time of a file tells.
func (c *Cluster) missingVolumes(ctx context.Context, h *bootstrap.Host, b *intake.Bundle) ([]string, error) {
	again := "no"
	if c.ca() != nil {
		if state, err := c.askDepot(ctx, h); err != nil {
			return nil, err
		} else if state != nil && state.refuses(b.BundleDigest()) != "" {
			again = "yes"
		}
	}
	args := []string{c.bundleDir(b), again}
	for _, v := range b.Volumes() {
		args = append(args, filepath.Base(v.Path), strconv.FormatInt(v.Info.Size(), 10))
	}
	out, err := h.Script(ctx, volumesScript, args...)
	if err != nil {
		return nil, fmt.Errorf("looking at the volumes of a bundle: %w", err)
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' }), nil
}

// room is what a depot has for the bundles of this run, in bytes.
type room struct {
	// missing has yet to be written there, free is what there is for it.
	missing, free int64
	// apart tells that depot.dir lies on another file system than /var/lib.
	apart bool
}

// roomScript prints how many bytes have yet to come below $1, whether that is apart
// from /var/lib, and how many are free there. The rest are triples of a volume's path,
// its size, and where it lies on this host ("" on another), from where it is linked
// within one file system.
const roomScript = `d=$1; n=0; apart=false; shift
while [ ! -d "$d" ]; do d=${d%/*}; [ -n "$d" ] || d=/; done
dev=$(stat -c %d "$d")
while [ $# -ge 3 ]; do
  if [ "$(stat -c %s "$1" 2>/dev/null)" != "$2" ] && { [ -z "$3" ] || [ "$(stat -c %d "$3" 2>/dev/null)" != "$dev" ]; }; then n=$((n + $2)); fi
  shift 3
done
[ "$dev" = "$(stat -c %d /var/lib)" ] || apart=true
echo "$n $apart $(df -Pk "$d" | { read -r _; read -r _ _ _ f _; echo "$f"; })"`

func (c *Cluster) depotRoom(ctx context.Context, h *bootstrap.Host) (room, error) {
	args := []string{c.Site.Depot.Dir}
	for _, b := range c.Set.Bundles {
		for _, v := range b.Volumes() {
			from := ""
			if h.Local {
				abs, err := filepath.Abs(v.Path)
				if err != nil {
					return room{}, fmt.Errorf("finding a volume: %w", err)
				}
				from = abs
			}
			args = append(args, path.Join(c.bundleDir(b), filepath.Base(v.Path)), strconv.FormatInt(v.Info.Size(), 10), from)
		}
	}
	out, err := h.Script(ctx, roomScript, args...)
	if err != nil {
		return room{}, err
	}
	var r room
	if _, err := fmt.Sscan(out, &r.missing, &r.apart, &r.free); err != nil {
		return room{}, fmt.Errorf("%s: looking at the room for bundles: %w", h.Name, err)
	}
	r.free <<= 10
	return r, nil
}

// carryTask brings one bundle to a depot. The depot is to be started anew then: one that
// runs has the former files open.
func (c *Cluster) carryTask(h *bootstrap.Host, b *intake.Bundle) phase.Task {
	return phase.Task{
		What: "carry bundle " + b.BundleDigest().Encoded()[:12], Deadline: noDeadline, Interruptible: true,
		Done: func(ctx context.Context) (bool, error) { return c.depotHas(ctx, h, b) },
		Do: func(ctx context.Context) error {
			missing, err := c.missingVolumes(ctx, h, b)
			if err != nil {
				return err
			}
			if err := markStale(ctx, h, depotStale); err != nil {
				return err
			}
			dir := c.bundleDir(b)
			for _, v := range b.Volumes() {
				if !slices.Contains(missing, filepath.Base(v.Path)) {
					continue
				}
				if err := carryVolume(ctx, h, v.Path, dir); err != nil {
					return err
				}
			}
			// The mark's time is the bundle's place among the others: it is not set again.
			_, err = h.Ensure(ctx, []bootstrap.File{{Path: path.Join(dir, completeName), Mode: "0644", Content: []byte(b.BundleDigest().String() + "\n")}})
			return err
		},
	}
}

// carryVolume copies one volume into a folder of the depot, or links it where it lies on
// the host already, and notes that it was verified there.
func carryVolume(ctx context.Context, h *bootstrap.Host, from, dir string) error {
	name := filepath.Base(from)
	to := path.Join(dir, name)
	verified := func(sum string) error {
		_, err := h.Script(ctx, verifiedScript, dir, name, sum)
		return err
	}
	if h.Local {
		abs, err := filepath.Abs(from)
		if err != nil {
			return fmt.Errorf("finding a volume: %w", err)
		}
		if is, err := h.Holds(ctx, `mkdir -p "${2%/*}" && { [ "$1" -ef "$2" ] || ln -f "$1" "$2"; }`, abs, to); err != nil {
			return err
		} else if is {
			return verified(linked)
		}
	}
	sum, err := fileSum(ctx, from)
	if err != nil {
		return err
	}
	// An earlier version brought it, or somebody copied it.
	if there, err := h.Holds(ctx, `s=$(sha256sum <"$1") && [ "${s%% *}" = "$2" ]`, to, sum); err != nil {
		return err
	} else if !there {
		if err := h.Put(ctx, bootstrap.File{Path: to, Mode: "0644", SHA256: sum, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(from) }}); err != nil {
			return err
		}
	}
	return verified(sum)
}

// fileSum is the SHA-256 of a file on this machine, hex.
func fileSum(ctx context.Context, path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	for {
		if ctx.Err() != nil { // a medium may be slow, and a volume gigabytes
			return "", context.Cause(ctx)
		}
		if _, err := io.CopyN(sum, f, 16<<20); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("reading %q: %w", path, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
