package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"naru/internal/intake"
)

// pushed is what is read of the result of install push.
type pushed struct {
	Push struct {
		Pushed, Skipped []struct{ Ref, Target, Digest string }
		Blobs           struct{ Uploaded, Mounted, Present int }
	}
	Check struct{ Checked int }
}

// pushes kills pushes.
type pushes struct {
	*suite
	random   *rand.Rand
	bundle   string          // folder
	want     map[string]bool // every digest of it
	took     time.Duration   // of the first push
	registry *registry       // of the round

	kills, rounds, finished, blobs, again int
	steps                                 map[string]int
	tally                                 *tally
}

// killPushes kills pushes at random moments, several times into each registry, lets
// them end, and reads back everything that the registry holds.
func (s *suite) killPushes(ctx context.Context) error {
	start := time.Now()
	p := &pushes{suite: s, random: s.random(streamPushes), bundle: filepath.Join(s.work, "to-push"), steps: map[string]int{}, tally: &tally{counts: map[string]int{}}}
	if err := p.prepareBundle(ctx); err != nil {
		return err
	}
	if err := p.undisturbed(ctx); err != nil {
		return err
	}
	for want := s.kills - s.kills/2; p.kills < want; {
		if err := p.inRegistry(ctx, func() error { return p.round(ctx, want) }); err != nil {
			return err
		}
	}
	s.add("kill -9 of install push", p.kills, start, "%d pushes to their end, %d ended before the kill; blobs acknowledged before a kill: %d, uploaded again: %d; wrong or missing bytes: %d; kills by step: %s",
		p.rounds, p.finished, p.blobs, p.again, p.tally.counts["wrong"], stepList(p.steps))
	return p.tally.err()
}

// prepareBundle builds what is pushed and lists its digests.
func (p *pushes) prepareBundle(ctx context.Context) error {
	src, err := p.newSource(ctx, p.seed, killShape())
	if err != nil {
		return err
	}
	defer func() { _ = src.up.Close() }()
	cache := filepath.Join(p.work, "push-cache")
	if err := p.program(ctx, nil, "bundle", p.buildArgs(src, p.bundle, cache, "--volume-size", volumeSize)...); err != nil {
		return err
	}
	b, err := intake.Open(ctx, intake.Options{Paths: []string{p.bundle}, Keys: []string{p.key + ".pub"}})
	if err != nil {
		return err
	}
	p.want = map[string]bool{}
	for _, blob := range b.Contents().Blobs {
		p.want[blob.Digest.String()] = true
	}
	return errors.Join(b.Close(), os.RemoveAll(cache))
}

// inRegistry runs f with an empty registry.
func (p *pushes) inRegistry(ctx context.Context, f func() error) error {
	dir := filepath.Join(p.work, "registry")
	var err error
	if p.registry, err = p.startRegistry(ctx, dir); err != nil {
		return err
	}
	err = f()
	p.registry.stop()
	return errors.Join(err, os.RemoveAll(dir))
}

func (p *pushes) args() []string {
	return []string{"push", p.bundle, "--allow-unscanned", "--key", p.key + ".pub", "--to", p.registry.host() + "/mirror", "--plain-http"}
}

// undisturbed measures a push.
func (p *pushes) undisturbed(ctx context.Context) error {
	return p.inRegistry(ctx, func() error {
		err := p.end(ctx)
		p.printf("   undisturbed: %s, %d digests", p.took.Round(10*time.Millisecond), len(p.want))
		return err
	})
}

// round kills a push some times and lets it end.
func (p *pushes) round(ctx context.Context, want int) error {
	p.rounds++
	for range 1 + p.random.IntN(6) {
		if p.kills == want {
			break
		}
		after := time.Duration(p.random.Int64N(int64(p.took)))
		k, err := p.kill(ctx, after, "install", p.args()...)
		if err != nil {
			return err
		}
		if !k.Early {
			p.finished++
			break
		}
		p.kills++
		p.steps[k.Step]++
		n, err := p.registry.settle(ctx)
		if err != nil {
			return err
		}
		p.blobs += n
	}
	if err := p.end(ctx); err != nil {
		return err
	}
	again := p.registry.uploadedAgain()
	p.again += len(again)
	for _, blob := range again {
		p.tally.fail(fmt.Errorf("round %d: %s was whole in the registry, and was uploaded again", p.rounds, blob))
	}
	return nil
}

// end lets the push end and reads everything back.
func (p *pushes) end(ctx context.Context) error {
	var r pushed
	start := time.Now()
	if err := p.program(ctx, &r, "install", p.args()...); err != nil {
		return fmt.Errorf("round %d: pushing to the end: %w", p.rounds, err)
	}
	if p.took == 0 {
		p.took = time.Since(start)
	}
	have := map[string]bool{}
	for _, a := range append(r.Push.Pushed, r.Push.Skipped...) {
		target := strings.TrimPrefix(a.Target, p.registry.host()+"/")
		repository, reference, ok := strings.Cut(target, "@")
		if !ok {
			i := strings.LastIndexByte(target, ':')
			repository, reference = target[:i], target[i+1:]
		}
		if err := p.registry.readBack(ctx, repository, reference, a.Digest, have); err != nil {
			p.tally.keepWrong([]error{fmt.Errorf("round %d: %w", p.rounds, err)})
		}
	}
	for d := range p.want {
		if !have[d] {
			p.tally.keepWrong([]error{fmt.Errorf("round %d: the registry lacks %s", p.rounds, d)})
		}
	}
	return nil
}
