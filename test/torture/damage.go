package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"naru/internal/intake"
	"naru/pkg/sign/verify"
)

// wound is one change of one file of the medium.
type wound struct {
	number int
	file   string
	at     int64
	xor    []byte // nil for a cut at at
}

func (w wound) String() string {
	if w.xor == nil {
		return fmt.Sprintf("change %d: %s cut at byte %d", w.number, w.file, w.at)
	}
	return fmt.Sprintf("change %d: %s bytes from %d xor %.20x (%d)", w.number, w.file, w.at, w.xor, len(w.xor))
}

// tally counts what became of the wounds.
type tally struct {
	mu       sync.Mutex
	counts   map[string]int
	failures []error
}

func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func (t *tally) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, err)
}

// keep takes note of each error there is.
func (t *tally) keep(errs ...error) {
	for _, err := range errs {
		if err != nil {
			t.fail(err)
		}
	}
}

// summary is the counts of wounds in words.
func (t *tally) summary() string {
	c := t.counts
	return fmt.Sprintf("SHA256SUMS names the file: %d; refused without it: content, naming the entry, %d, structure, naming the volume, %d; packed form changed, content the same: %d; shown to the programs: %d; wrong content handed out: %d",
		c["sums"], c["content"], c["refused"]-c["content"], c["unharmed"], c["programs"], c["wrong"])
}

// err is what failed, the first few of it.
func (t *tally) err() error {
	const show = 20
	if len(t.failures) <= show {
		return errors.Join(t.failures...)
	}
	return errors.Join(append(t.failures[:show:show], fmt.Errorf("and %d more", len(t.failures)-show))...)
}

// damage changes and cuts the files of a medium at random, then mixes its volumes up.
func (s *suite) damage(ctx context.Context) error {
	m, err := s.newMedium(ctx)
	if err != nil {
		return err
	}
	ring, err := verify.LoadKeys(s.key + ".pub")
	if err != nil {
		return err
	}
	flips, cuts := s.wounds(m)
	for _, kind := range []struct {
		what   string
		wounds []wound
	}{{"byte changes", flips}, {"truncations", cuts}} {
		if err := s.inflict(ctx, m, ring, kind.what, kind.wounds); err != nil {
			return err
		}
	}
	return s.mixUp(ctx, m, ring)
}

// wounds draws the changes and cuts.
func (s *suite) wounds(m *medium) (flips, cuts []wound) {
	for n := range s.flips + s.cuts {
		r := s.random(streamDamage + uint64(n))
		w := wound{number: n, file: m.volumes[r.IntN(len(m.volumes))]}
		if n >= s.flips {
			w.at = m.pickCut(r, w.file)
			cuts = append(cuts, w)
			continue
		}
		switch n % 20 {
		case 0: // beside the volumes
			w.file = m.pickBeside(r)
			w.at = r.Int64N(int64(len(m.files[w.file])))
		case 1, 2, 3, 4, 5, 6: // where structure is dense
			w.at = m.pickStructure(r, w.file)
		default:
			w.at = r.Int64N(int64(len(m.files[w.file])))
		}
		w.xor = pickXOR(r, n, int64(len(m.files[w.file]))-w.at)
		flips = append(flips, w)
	}
	return flips, cuts
}

// pickXOR is one byte, or in every fifth wound a burst.
func pickXOR(r *rand.Rand, n int, room int64) []byte {
	length := int64(1)
	if n%5 == 4 {
		length = min(room, 2+r.Int64N(1<<(1+r.IntN(12))))
	}
	xor := make([]byte, length)
	for i := range xor {
		xor[i] = byte(1 + r.IntN(255))
	}
	return xor
}

// pickStructure is a byte in a region of a volume that was drawn by number, not by
// size, so that small ones have their turn.
func (m *medium) pickStructure(r *rand.Rand, volume string) int64 {
	g := m.regions[volume][r.IntN(len(m.regions[volume]))]
	return g.from + r.Int64N(min(g.to-g.from, 64))
}

// pickCut is where a volume is cut: anywhere, between two frames, or near its end.
func (m *medium) pickCut(r *rand.Rand, volume string) int64 {
	size := int64(len(m.files[volume]))
	switch r.IntN(4) {
	case 0:
		return m.regions[volume][r.IntN(len(m.regions[volume]))].from
	case 1:
		return size - 1 - r.Int64N(64)
	}
	return r.Int64N(size)
}

// pickBeside is a file that SHA256SUMS lists and that is no volume.
func (m *medium) pickBeside(r *rand.Rand) string {
	var names []string
	for name := range m.files {
		if !slices.Contains(m.volumes, name) && !strings.HasPrefix(name, verify.SumsName) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[r.IntN(len(names))]
}

// inflict does every wound to a copy of the medium, one after the other, on every
// processor.
func (s *suite) inflict(ctx context.Context, m *medium, ring *verify.Keyring, what string, wounds []wound) error {
	start := time.Now()
	t := &tally{counts: map[string]int{}}
	todo := make(chan wound)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(todo)
		for _, w := range wounds {
			select {
			case todo <- w:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for i := range runtime.GOMAXPROCS(0) {
		dir := filepath.Join(s.work, fmt.Sprintf("wounded-%d", i))
		if err := m.copyTo(dir); err != nil {
			return err
		}
		p := &patient{suite: s, medium: m, ring: ring, dir: dir, tally: t}
		g.Go(func() error {
			for w := range todo {
				if err := p.suffer(ctx, w); err != nil {
					return fmt.Errorf("%s: %w", w, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.add(what, len(wounds), start, "%s", t.summary())
	return t.err()
}

// patient is a copy of the medium that is wounded and healed again and again.
type patient struct {
	*suite
	*medium
	ring  *verify.Keyring
	dir   string
	tally *tally
}

// suffer does one wound, looks what is believed, and heals it. The error is that the
// torture itself failed.
func (p *patient) suffer(ctx context.Context, w wound) error {
	if err := p.hurt(w); err != nil {
		return err
	}
	if sumsName(sums(ctx, p.ring, p.dir), w.file) {
		p.tally.count("sums")
	} else {
		p.tally.fail(fmt.Errorf("%s: checking SHA256SUMS does not name it: %w", w, orNothing(sums(ctx, p.ring, p.dir))))
	}
	if slices.Contains(p.volumes, w.file) {
		r := p.random(streamDamage<<1 + uint64(w.number))
		p.judge(w, p.believe(ctx, r, intake.Options{Paths: []string{p.dir}, Keys: []string{p.key + ".pub"}}))
	}
	if w.number%20 < 2 {
		if err := p.programs(ctx, w); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(p.dir, w.file), p.files[w.file], 0o600)
}

var errNothing = errors.New("nothing failed")

func orNothing(err error) error {
	if err == nil {
		return errNothing
	}
	return err
}

func (p *patient) hurt(w wound) error {
	path := filepath.Join(p.dir, w.file)
	if w.xor == nil {
		return os.Truncate(path, w.at)
	}
	data := slices.Clone(p.files[w.file][w.at : w.at+int64(len(w.xor))])
	for i, x := range w.xor {
		data[i] ^= x
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, w.at)
	return errors.Join(err, f.Close())
}

// judge compares what was believed with what must not be.
func (p *patient) judge(w wound, b believed) {
	if len(b.wrong) > 0 {
		p.tally.count("wrong")
		p.tally.fail(fmt.Errorf("%s: handed out %q, which is not what was signed", w, b.wrong))
	}
	if b.err == nil {
		p.tally.keep(p.unharmed(w))
		return
	}
	p.tally.count("refused")
	touched, content := p.touched(w)
	switch {
	case !p.inHead(w) && !namesVolume(b.err, w.file, 1+slices.Index(p.volumes, w.file)):
		p.tally.fail(fmt.Errorf("%s: refused without naming the volume: %w", w, b.err))
	case content && !namesEntry(b.err, w.file, touched):
		p.tally.fail(fmt.Errorf("%s: refused without naming %q: %w", w, touched[0].entry, b.err))
	case !explained(b.err):
		p.tally.fail(fmt.Errorf("%s: refused without a reason: %w", w, b.err))
	case content:
		p.tally.count("content")
	}
}

// touched are the regions of a change, and whether it touches signed content and
// nothing of the structure around it: then the entry must be named, else the volume. A
// cut takes all that follows, and is judged by volume.
func (p *patient) touched(w wound) (regions []region, content bool) {
	if w.xor == nil {
		return nil, false
	}
	regions = over(p.regions[w.file], w.at, w.at+int64(len(w.xor)))
	return regions, !slices.ContainsFunc(regions, func(r region) bool { return !r.signed() })
}

// unharmed judges a change that nobody minds: that may only be one in the packed form
// of content that unpacks to the same (which believe has seen).
func (p *patient) unharmed(w wound) error {
	regions, content := p.touched(w)
	if w.xor == nil || !content || !packed(p.files[w.file], regions) {
		return fmt.Errorf("%s: nothing fails (%+v)", w, regions)
	}
	p.tally.count("unharmed")
	return nil
}

// packed reports whether one of the regions is a frame that is compressed: a raw one
// has the longest form of header and a raw first block.
func packed(volume []byte, regions []region) bool {
	for _, r := range regions {
		const header = 9
		if volume[r.from+4] != 0xA0 || volume[r.from+header]>>1&3 != 0 {
			return true
		}
	}
	return false
}
