package install

import (
	"context"
	"strings"

	"naru/pkg/bootstrap"
)

// A service reads what it is configured with when it starts. Where a run is cut off
// between a file and the restart, the next one finds the file as it should be, and the
// service as it was: a mark, set before the first file is written, says that a restart is
// owed. It is gone after the restart, and after a reboot, which is one.

// staleMark is the mark of a unit.
func staleMark(unit string) string { return "/run/naru/" + unit + ".stale" }

func markStale(ctx context.Context, h *bootstrap.Host, mark string) error {
	_, err := h.Script(ctx, `install -d -m 0755 /run/naru; : >"$1"`, mark)
	return err
}

func isStale(ctx context.Context, h *bootstrap.Host, mark string) (bool, error) {
	return h.Holds(ctx, `[ -e "$1" ]`, mark)
}

// service is a unit with the files that it reads at its start.
type service struct {
	unit  string
	mark  string
	files []bootstrap.File
	// note is told of what others had in their place, and where it was kept; it may be nil.
	note func(string)
}

// inUse tells whether the files are as they should be and no restart is owed.
func (s *service) inUse(ctx context.Context, h *bootstrap.Host) (bool, error) {
	differ, err := h.Differ(ctx, s.files)
	if err != nil || len(differ) > 0 {
		return false, err
	}
	stale, err := isStale(ctx, h, s.mark)
	return !stale, err
}

// apply writes those of the files that differ, by write, and starts the unit: anew where
// any did, or where a restart is owed. What others had written there is kept beside them.
func (s *service) apply(ctx context.Context, h *bootstrap.Host, write func(context.Context, []bootstrap.File) error) error {
	differ, err := h.Differ(ctx, s.files)
	if err != nil {
		return err
	}
	stale, err := isStale(ctx, h, s.mark)
	if err != nil {
		return err
	}
	if len(differ) > 0 {
		kept, err := h.KeepForeign(ctx, differ)
		if err != nil {
			return err
		}
		if len(kept) > 0 && s.note != nil {
			s.note(line(h.Name, "not naru's, and kept: "+strings.Join(kept, " ")))
		}
		if err := markStale(ctx, h, s.mark); err != nil {
			return err
		}
		if err := write(ctx, differ); err != nil {
			return err
		}
		stale = true
	}
	if err := h.Unit(ctx, s.unit, stale); err != nil || !stale {
		return err
	}
	return h.Do(ctx, "rm", "-f", s.mark)
}

// putAll writes files as they are.
func putAll(h *bootstrap.Host) func(context.Context, []bootstrap.File) error {
	return func(ctx context.Context, files []bootstrap.File) error {
		for _, f := range files {
			if err := h.Put(ctx, f); err != nil {
				return err
			}
		}
		return nil
	}
}
