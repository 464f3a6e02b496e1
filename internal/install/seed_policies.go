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

// pausePolicies switches off the replication policies that run for every push of what is
// to come: each artifact of a bundle would start an execution of its own. Policies that
// others made for projects of their own go on. The policies switched off
// are written down first, so that those of a run that was killed are switched on again
// by the next. What it returns does that. A user who may not see policies has none
// paused.
func (s *seeding) pausePolicies(ctx context.Context) (resume func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	path := s.pausedFile()
	paused, err := readPaused(path)
	if err != nil {
		return nil, err
	}
	all, err := s.client.Policies(ctx)
	if errors.Is(err, harbor.ErrForbidden) {
		s.notePaused(paused)
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	var off []harbor.Policy // those that are on again at the end
	for _, p := range all {
		if slices.Contains(paused, p.Name) || busy(p) && s.concerns(p) {
			off = append(off, p)
		}
	}
	if len(off) == 0 {
		return nothing, forgetPaused(path) // those that were paused are gone
	}
	if err := writePaused(path, off); err != nil {
		return nil, err
	}
	resume = func(ctx context.Context) error { return s.resume(ctx, off) }
	for _, p := range off {
		if !busy(p) || !s.concerns(p) {
			continue
		}
		if err := s.client.SetEnabled(ctx, p, false); err != nil {
			return nil, errors.Join(err, resume(context.WithoutCancel(ctx)))
		}
	}
	s.Progress.Note("replication on push is switched off until all is there: " + strings.Join(policyNames(off), ", "))
	return resume, nil
}

// notePaused warns of policies that stay off, as the user may not switch them on.
func (s *seeding) notePaused(names []string) {
	if len(names) > 0 {
		s.Progress.Note(fmt.Sprintf("warning: a run that was cut off left replication switched off, and this user may not switch it on: %s", strings.Join(names, ", ")))
	}
}

// concerns tells whether a policy may be about what is pushed.
func (s *seeding) concerns(p harbor.Policy) bool {
	if len(s.projects) == 0 {
		return true
	}
	projects := make([]string, len(s.projects))
	for i, project := range s.projects {
		projects[i] = project.Name
	}
	return p.MayCarry(projects)
}

func policyNames(list []harbor.Policy) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Name
	}
	return out
}

// busy tells whether a policy runs for every push.
func busy(p harbor.Policy) bool { return p.Enabled && p.Trigger == harbor.TriggerEvent }

// resume switches policies on, and forgets that they were paused. One that was removed
// meanwhile is no error.
func (s *seeding) resume(ctx context.Context, off []harbor.Policy) error {
	var errs []error
	for _, p := range off {
		if err := s.client.SetEnabled(ctx, p, true); !errors.Is(err, harbor.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return forgetPaused(s.pausedFile())
}

// resumePaused switches on what a run that was killed left switched off, for a run that
// cannot go on: replication waits for no bundle.
func (s *seeding) resumePaused(ctx context.Context) error {
	paused, err := readPaused(s.pausedFile())
	if err != nil || len(paused) == 0 {
		return err
	}
	all, err := s.client.Policies(ctx)
	if errors.Is(err, harbor.ErrForbidden) {
		s.notePaused(paused)
		return nil
	}
	if err != nil {
		return err
	}
	return s.resume(ctx, slices.DeleteFunc(all, func(p harbor.Policy) bool { return !slices.Contains(paused, p.Name) }))
}

// pausedFile lists the names of the policies that are switched off.
func (s *seeding) pausedFile() string { return pausedPath(s.State, s.client.Host()) }

// pausedPath is that file for a Harbor, "host[:port]", below a state folder.
func pausedPath(state, host string) string {
	return filepath.Join(state, "harbor", "paused-"+strings.ReplaceAll(host, ":", "_")+".json")
}

func forgetPaused(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the paused replication policies: %w", err)
	}
	return nil
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
	data, err := json.Marshal(policyNames(list))
	if err != nil {
		return fmt.Errorf("writing the paused replication policies: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the paused replication policies: %w", err)
	}
	return atomicfile.Write(path, data, 0o600)
}
