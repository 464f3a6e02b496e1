package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"naru/internal/atomicfile"
	"naru/pkg/harbor"
)

// pausePolicies switches off the replication policies that run for every push: each
// artifact of a bundle would start an execution of its own. The policies switched off
// are written down first, so that those of a run that was killed are switched on again
// by the next. What it returns does that. A user who may not see policies has none
// paused.
func (s *seeding) pausePolicies(ctx context.Context) (resume func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	all, err := s.client.Policies(ctx)
	if errors.Is(err, harbor.ErrForbidden) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	path := s.pausedFile()
	paused, err := readPaused(path)
	if err != nil {
		return nil, err
	}
	var busy []harbor.Policy
	for _, p := range all {
		if p.Trigger == harbor.TriggerEvent && (p.Enabled || slices.Contains(paused, p.Name)) {
			busy = append(busy, p)
		}
	}
	if len(busy) == 0 {
		return nothing, nil
	}
	if err := writePaused(path, busy); err != nil {
		return nil, err
	}
	resume = func(ctx context.Context) error {
		var errs []error
		for _, p := range busy {
			errs = append(errs, s.client.SetEnabled(ctx, p, true))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return os.Remove(path)
	}
	for _, p := range busy {
		if !p.Enabled {
			continue
		}
		if err := s.client.SetEnabled(ctx, p, false); err != nil {
			return nil, errors.Join(err, resume(context.WithoutCancel(ctx)))
		}
	}
	return resume, nil
}

// pausedFile lists the names of the policies that are switched off.
func (s *seeding) pausedFile() string {
	return filepath.Join(s.State, "harbor", "paused-"+strings.ReplaceAll(s.client.Host(), ":", "_")+".json")
}

func readPaused(path string) (names []string, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the paused replication policies: %w", err)
	}
	if err := json.Unmarshal(data, &names); err != nil {
		return nil, fmt.Errorf("reading the paused replication policies %q: %w", path, err)
	}
	return names, nil
}

func writePaused(path string, list []harbor.Policy) error {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	data, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("writing the paused replication policies: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the paused replication policies: %w", err)
	}
	return atomicfile.Write(path, data, 0o600)
}
