package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/test/lab/upstream"
	"naru/test/lab/workload"
)

// killShape is what is built and pushed: some seconds of work.
func killShape() workload.Shape {
	return workload.Shape{Name: "kill", Bytes: 90e6, Images: 10, Bases: 3, Layers: 2, RawPercent: 25, Files: 3}
}

// volumeSize makes three volumes or so of it.
const volumeSize = "28MiB"

// reference is what a build makes that nobody disturbs.
type reference struct {
	lock   string // it was built with; empty for none
	bundle string
	lists  map[string]map[string]string // its volumes
}

// builds kills builds.
type builds struct {
	*suite
	src    *source
	random *rand.Rand
	files  map[string]digest.Digest // by the path they are fetched from

	references []reference
	took       time.Duration // of the last one

	// of the round
	reference
	out, cache string
	whole      map[string]bool // blobs that were complete at the last kill
	seen       int             // requests looked at

	kills, rounds, finished, blobs int
	steps                          map[string]int
	fetched, content               int64
	tally                          *tally
}

// killBuilds kills builds at random moments, several times each, lets them end, and
// compares what they made with what a build makes that nobody disturbed.
func (s *suite) killBuilds(ctx context.Context) error {
	start := time.Now()
	src, err := s.newSource(ctx, s.seed, killShape())
	if err != nil {
		return err
	}
	defer func() { _ = src.up.Close() }()
	b := &builds{suite: s, src: src, random: s.random(streamBuilds), steps: map[string]int{}, tally: &tally{counts: map[string]int{}}, files: map[string]digest.Digest{}}
	for _, f := range src.layout.Catalog.Files {
		b.files["/files/"+strings.TrimPrefix(f.URL, "https://")] = digest.NewDigestFromEncoded(digest.SHA256, f.SHA256)
	}
	if err := b.refer(ctx); err != nil {
		return err
	}
	for want := s.kills / 2; b.kills < want; {
		if err := b.round(ctx, want); err != nil {
			return err
		}
	}
	s.add("kill -9 of bundle build", b.kills, start, "%d builds to their end, %d ended before the kill; blobs found whole after a kill: %d, fetched again: %d; wrong bytes: %d; sent by the upstream beyond the content, over all kills: %.1f%%; kills by step: %s",
		b.rounds, b.finished, b.blobs, b.tally.counts["refetched"], b.tally.counts["wrong"], 100*float64(max(0, b.fetched-b.content))/float64(b.content), stepList(b.steps))
	return b.tally.err()
}

// args are those of every build of a round.
func (b *builds) args(out, cache string) []string {
	args := b.buildArgs(b.src, out, cache, "--volume-size", volumeSize)
	if b.lock != "" {
		args = append(args, "--lock", b.lock, "--locked")
	}
	return args
}

// refer builds without disturbance: once without a lock, and once with the one that
// was left. The bundles differ, as the lock in them says who pinned.
func (b *builds) refer(ctx context.Context) error {
	out, cache, lock := filepath.Join(b.work, "reference"), filepath.Join(b.work, "reference-cache"), filepath.Join(b.work, "lock.yaml")
	var r built
	for _, b.lock = range []string{"", lock} {
		for _, dir := range []string{out, cache} {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		start := time.Now()
		if err := b.program(ctx, &r, "bundle", b.args(out, cache)...); err != nil {
			return err
		}
		b.took, b.bundle = time.Since(start), r.Bundle
		data, err := os.ReadFile(filepath.Join(out, "lock.yaml"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(lock, data, 0o600); err != nil {
			return err
		}
		if b.lists, err = listVolumes(out); err != nil {
			return err
		}
		b.references = append(b.references, b.reference)
	}
	b.printf("   undisturbed: %s, %d blobs, %d MB, %d volumes", b.took.Round(10*time.Millisecond), r.Blobs, r.Bytes>>20, len(b.lists))
	return os.RemoveAll(cache)
}

// listVolumes lists every volume in dir.
func listVolumes(dir string) (map[string]map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.tar.zst"))
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]string{}
	for _, path := range paths {
		if out[filepath.Base(path)], err = listVolume(path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// round starts from nothing, kills a build some times, and lets it end.
func (b *builds) round(ctx context.Context, want int) error {
	b.reference = b.references[b.rounds%len(b.references)]
	b.rounds++
	b.out, b.cache = filepath.Join(b.work, "killed"), filepath.Join(b.work, "killed-cache")
	for _, dir := range []string{b.out, b.cache} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	b.src.up.ResetRequests()
	b.whole, b.seen = map[string]bool{}, 0
	for range 1 + b.random.IntN(6) {
		if b.kills == want {
			break
		}
		after := time.Duration(b.random.Int64N(int64(b.took)))
		k, err := b.kill(ctx, after, "bundle", b.args(b.out, b.cache)...)
		if err != nil {
			return err
		}
		if !k.Early {
			b.finished++
			break
		}
		b.kills++
		b.steps[k.Step]++
		if err := b.afterKill(ctx); err != nil {
			return err
		}
	}
	return b.end(ctx)
}

// afterKill looks at what the killed build left.
func (b *builds) afterKill(ctx context.Context) error {
	if err := b.requests(ctx); err != nil {
		return err
	}
	store, err := readStore(b.cache, b.whole)
	if err != nil {
		return err
	}
	b.tally.keepWrong(store)
	b.blobs += len(b.whole)
	return b.leftInOut()
}

// leftInOut demands that a volume under its own name is whole, and that SHA256SUMS is
// there only when everything is.
func (b *builds) leftInOut() error {
	lists, err := listVolumes(b.out)
	if err != nil {
		b.tally.keepWrong([]error{err})
		return nil
	}
	b.compare(lists)
	if _, err := os.Stat(filepath.Join(b.out, "SHA256SUMS")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	refused, said, err := sha256sum(context.Background(), b.out)
	if refused {
		b.tally.keepWrong([]error{fmt.Errorf("round %d: SHA256SUMS was written before what it lists: %s", b.rounds, said)})
	}
	return err
}

// compare compares volumes with those of the round's reference.
func (b *builds) compare(lists map[string]map[string]string) {
	for volume, list := range lists {
		if diff := difference(b.lists[volume], list); diff != "" {
			b.tally.keepWrong([]error{fmt.Errorf("round %d: volume %q differs from the reference: %s", b.rounds, volume, diff)})
		}
	}
}

// difference names an entry in which two volumes differ.
func difference(want, got map[string]string) string {
	for name, sum := range want {
		if got[name] != sum {
			return fmt.Sprintf("entry %q is %q, want %q", name, got[name], sum)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d entries, want %d", len(got), len(want))
	}
	return ""
}

// object is what a request was for: the digest of a blob, a manifest or a file, else
// the path. A list of what refers to a manifest has that one's digest in its path.
func (b *builds) object(r upstream.Request) string {
	object := r.Object()
	if d, ok := b.files[object]; ok {
		return d.String()
	}
	if i := strings.LastIndex(object, "/sha256:"); i >= 0 && !strings.HasSuffix(object[:i], "/referrers") {
		return object[i+1:]
	}
	return object
}

// requests waits until the upstream has answered what the killed program asked, and
// demands that none was for a blob the store had before.
func (b *builds) requests(ctx context.Context) error {
	if err := settle(ctx, func() int { return len(b.src.up.Requests()) }); err != nil {
		return err
	}
	all := b.src.up.Requests()
	for _, r := range all[b.seen:] {
		object := b.object(r)
		if r.Method != "GET" || r.Bytes == 0 || r.Status/100 != 2 {
			continue
		}
		if strings.HasPrefix(object, "sha256:") {
			b.fetched += r.Bytes
		}
		if b.whole[object] {
			b.tally.count("refetched")
			b.tally.fail(fmt.Errorf("round %d: %s was whole, and was fetched again: %d of %d bytes", b.rounds, object, r.Bytes, r.Size))
		}
	}
	b.seen = len(all)
	return nil
}

// settle waits until a count has not changed for a while.
func settle(ctx context.Context, count func() int) error {
	const quiet = 150 * time.Millisecond
	for last := -1; ; {
		now := count()
		if now == last {
			return nil
		}
		last = now
		timer := time.NewTimer(quiet)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// end lets the build end and compares everything.
func (b *builds) end(ctx context.Context) error {
	var r built
	if err := b.program(ctx, &r, "bundle", b.args(b.out, b.cache)...); err != nil {
		return fmt.Errorf("round %d: building to the end: %w", b.rounds, err)
	}
	if err := b.requests(ctx); err != nil {
		return err
	}
	b.content += r.Bytes
	if r.Bundle != b.bundle {
		b.tally.keepWrong([]error{fmt.Errorf("round %d: the bundle is %s, that of an undisturbed build %s", b.rounds, r.Bundle, b.bundle)})
	}
	lists, err := listVolumes(b.out)
	if err != nil {
		return err
	}
	if len(lists) != len(b.lists) {
		b.tally.keepWrong([]error{fmt.Errorf("round %d: %d volumes, want %d", b.rounds, len(lists), len(b.lists))})
	}
	b.compare(lists)
	store, err := readStore(b.cache, map[string]bool{})
	if err != nil {
		return err
	}
	b.tally.keepWrong(store)
	return b.verified(ctx)
}

// verified demands that the bundle verifies and that nothing partial is left.
func (b *builds) verified(ctx context.Context) error {
	if err := b.program(ctx, nil, "bundle", "verify", b.out, "--key", b.key+".pub", "--progress", "none"); err != nil {
		b.tally.keepWrong([]error{fmt.Errorf("round %d: %w", b.rounds, err)})
	}
	refused, said, err := sha256sum(ctx, b.out)
	if refused {
		b.tally.keepWrong([]error{fmt.Errorf("round %d: sha256sum -c: %s", b.rounds, said)})
	}
	left, globErr := filepath.Glob(filepath.Join(b.out, "*.partial"))
	if len(left) > 0 {
		b.tally.keepWrong([]error{fmt.Errorf("round %d: left behind: %q", b.rounds, left)})
	}
	return errors.Join(err, globErr)
}
