package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"naru/internal/intake"
	"naru/pkg/archive"
	"naru/pkg/sign/verify"
)

// set is a medium whose volumes were mixed up: contents by name.
type set struct {
	what  string
	files map[string][]byte
	// wrong are the files that SHA256SUMS must name; listed files only.
	wrong []string
	// without tells what opening without SHA256SUMS must come to.
	without func(error) bool
}

func opens(err error) bool { return err == nil }

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// sets are all ways in which whole volumes are mixed up.
func (m *medium) sets(foreign []byte) []set {
	var out []set
	add := func(what string, without func(error) bool, files map[string][]byte) {
		one := set{what: what, files: map[string][]byte{}, without: without}
		for name, data := range files {
			if data != nil {
				one.files[name] = data
			}
		}
		for _, name := range m.volumes {
			if data, ok := one.files[name]; !ok || string(data) != string(m.files[name]) {
				one.wrong = append(one.wrong, name)
			}
		}
		out = append(out, one)
	}
	v := m.volumes
	with := func(change map[string][]byte) map[string][]byte {
		files := map[string][]byte{}
		for _, name := range v {
			files[name] = m.files[name]
		}
		for name, data := range change {
			files[name] = data
		}
		return files
	}
	for _, order := range [][3]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		add(fmt.Sprint("swapped ", order), opens, with(map[string][]byte{v[0]: m.files[v[order[0]]], v[1]: m.files[v[order[1]]], v[2]: m.files[v[order[2]]]}))
	}
	for i, name := range v {
		add("renamed "+name, opens, with(map[string][]byte{name: nil, "DISC" + fmt.Sprint(i) + ".ISO": m.files[name]}))
		add("missing "+name, isA[*archive.MissingVolumeError], with(map[string][]byte{name: nil}))
		add("alone "+name, isA[*archive.MissingVolumeError], map[string][]byte{name: m.files[name]})
		add("doubled "+name, isA[*archive.DuplicateVolumeError], with(map[string][]byte{"copy of " + name: m.files[name]}))
		add("empty "+name, isA[*archive.MissingVolumeError], with(map[string][]byte{name: {}}))
		add("foreign in place of "+name, isA[*archive.ForeignVolumeError], with(map[string][]byte{name: foreign}))
		for j, other := range v {
			if i != j {
				add(fmt.Sprintf("%s in place of %s", other, name), isA[*archive.DuplicateVolumeError], with(map[string][]byte{name: m.files[other]}))
			}
		}
	}
	add("foreign besides", isA[*archive.ForeignVolumeError], with(map[string][]byte{"other.tar.zst": foreign}))
	return append(out, set{what: "none", files: map[string][]byte{}, wrong: v, without: isA[*archive.NotABundleError]})
}

// mixUp tries every set, with SHA256SUMS and without.
func (s *suite) mixUp(ctx context.Context, m *medium, ring *verify.Keyring) error {
	start := time.Now()
	foreign, err := os.ReadFile(filepath.Join(m.other, "less.tar.zst"))
	if err != nil {
		return err
	}
	t := &tally{counts: map[string]int{}}
	sets := m.sets(foreign)
	for _, one := range sets {
		dir := filepath.Join(s.work, "mixed")
		if err := one.lay(m, dir); err != nil {
			return err
		}
		if err := s.trySet(ctx, m, ring, one, dir, t); err != nil {
			return fmt.Errorf("%s: %w", one.what, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	s.add("volumes mixed up", len(sets), start, "SHA256SUMS names the files: %d of %d; doubled and foreign ones are named by install verify: %d; without it, under other names, right: %d; refused, saying why: %d; wrong content handed out: %d",
		t.counts["sums"], t.counts["listed"], t.counts["extra"], t.counts["right"], t.counts["refused"], t.counts["wrong"])
	return t.err()
}

// lay writes a set into dir with the files that go beside it.
func (one set) lay(m *medium, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range m.files {
		if !strings.HasSuffix(name, ".tar.zst") {
			if err := writeBelow(dir, name, data); err != nil {
				return err
			}
		}
	}
	for name, data := range one.files {
		if err := writeBelow(dir, name, data); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) trySet(ctx context.Context, m *medium, ring *verify.Keyring, one set, dir string, t *tally) error {
	code, said, err := s.installVerify(ctx, dir)
	if err != nil {
		return err
	}
	if len(one.wrong) > 0 {
		t.count("listed")
		t.keep(one.sumsName(ctx, ring, dir, t))
	} else if named := refusal(code) && one.mentions(m, said); !named {
		t.fail(fmt.Errorf("%s: install verify (code %d) does not name what is too much: %s", one.what, code, said))
	} else {
		t.count("extra")
	}
	for _, name := range []string{verify.SumsName, verify.SumsSignatureName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	b := m.believe(ctx, s.random(streamDamage), intake.Options{Paths: []string{dir}, Keys: []string{s.key + ".pub"}})
	switch {
	case len(b.wrong) > 0:
		t.count("wrong")
		t.fail(fmt.Errorf("%s: handed out %q, which is not what was signed", one.what, b.wrong))
	case !one.without(b.err):
		t.fail(fmt.Errorf("%s: without SHA256SUMS: %w", one.what, orNothing(b.err)))
	case b.err == nil:
		t.count("right")
	default:
		t.count("refused")
	}
	return nil
}

// sumsName demands that checking SHA256SUMS names each wrong volume, and no other file.
func (one set) sumsName(ctx context.Context, ring *verify.Keyring, dir string, t *tally) error {
	err := sums(ctx, ring, dir)
	var wrong *verify.SumsError
	if !errors.As(err, &wrong) || len(wrong.Files) != len(one.wrong) {
		return fmt.Errorf("%s: checking SHA256SUMS: want %q named: %w", one.what, one.wrong, orNothing(err))
	}
	for i, f := range wrong.Files {
		if f.Name != one.wrong[i] {
			return fmt.Errorf("%s: checking SHA256SUMS: want %q named: %w", one.what, one.wrong, err)
		}
	}
	t.count("sums")
	return nil
}

// mentions reports whether a message names a file of the set that the medium has not.
func (one set) mentions(m *medium, said string) bool {
	for name := range one.files {
		if _, ours := m.files[name]; !ours && strings.Contains(said, name) {
			return true
		}
	}
	return false
}
