package main

import (
	"context"
	"errors"
	"time"

	"naru/test/lab/workload"
)

// measureSmall does the ways that many small artifacts make long: building, pushing,
// and both again with nothing to do.
func (b *bench) measureSmall(ctx context.Context) (err error) {
	s, err := b.subject(ctx, workload.Small())
	if err != nil {
		return err
	}
	defer s.up.stop()
	rows, err := byTurns(ctx, b.reps, b.note, b.buildSide(s), b.craneSide(s, ""), b.craneSide(s, " && find "+b.path("crane")+" -type f -exec sync {} +"))
	if err != nil {
		return err
	}
	b.report.atMost("build, 300 small images", rows[0].figures(), rows[2].figures(), 1.3)
	b.report.atMost("build, 300 small images", rows[0].figures(), rows[1].figures(), 1.3)
	if err := b.pushSubject(ctx, s, "push, 300 small images", 1); err != nil {
		return err
	}
	return b.measureRerun(ctx, s)
}

// measureRerun builds and pushes again what is all there.
func (b *bench) measureRerun(ctx context.Context, s *subject) (err error) {
	r, err := b.startRegistry(ctx, registries[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	if _, err := b.pushCommand(s, r.addr).run(ctx); err != nil {
		return err
	}
	rows, err := byTurns(ctx, b.reps, b.note,
		side{name: "bundle build again", cmd: func() command { return b.buildCommand(s, s.cache, s.bundle) }},
		side{name: "install push again", cmd: func() command { return b.pushCommand(s, r.addr) }})
	if err != nil {
		return err
	}
	b.report.within("build again, nothing to do, 300 images", rows[0].figures(), 2*time.Second)
	b.report.within("push again, nothing to do, 300 images", rows[1].figures(), 2*time.Second)
	return nil
}
