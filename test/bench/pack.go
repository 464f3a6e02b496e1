package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// measurePack packs a cache that has everything into an empty folder: the whole of
// bundle build, and its step pack alone. It is held against the slower of two things
// that any way of making such a file has to do: write it so that it lasts, and
// hash it.
func (b *bench) measurePack(ctx context.Context) error {
	s := b.large
	if err := b.ensure(ctx, s); err != nil {
		return err
	}
	list, err := volumes(s.bundle)
	if err != nil {
		return err
	}
	if err := warmFiles(list); err != nil {
		return err
	}
	out, copied := b.path("pack"), b.path("copy")
	rows, err := byTurns(ctx, b.reps, b.note,
		side{
			name:   "bundle build, all in the cache",
			before: func(context.Context) error { return removeAll(out) },
			cmd: func() command {
				return b.buildCommand(s, s.cache, out, "--locked", "--lock", s.bundle+"/lock.yaml")
			},
			after: func(context.Context, *sample) error { return removeAll(out) },
		},
		side{
			name:   "cat + sync",
			before: func(context.Context) error { return removeAll(copied) },
			cmd: func() command {
				return command{"sh", "-c", fmt.Sprintf("cat %s > %s && sync %s", list[0], copied, copied)}
			},
			after: func(context.Context, *sample) error { return removeAll(copied) },
		},
		side{name: "openssl dgst -sha256", cmd: func() command { return command{"openssl", "dgst", "-sha256", list[0]} }})
	if err != nil {
		return err
	}
	slower := rows[1].figures()
	if hashed := rows[2].figures(); hashed.wall > slower.wall {
		slower = hashed
	}
	b.report.atMost("pack: all of bundle build from a full cache", rows[0].figures(), slower, 1.2)
	b.report.atMost("pack: its step alone", stepFigures(rows[0], "pack"), slower, 0)
	if b.fresh.runs > 0 {
		b.report.atMost("pack: its step in a build that fetched", b.fresh, slower, 0)
	}
	return nil
}

// measureVerify verifies a bundle of one volume and one of four, against the slower of
// two things that can be done with the volumes in parallel: copy them so that they
// last, and hash them.
func (b *bench) measureVerify(ctx context.Context) error {
	if err := b.ensure(ctx, b.large); err != nil {
		return err
	}
	if err := b.ensureSplit(ctx); err != nil {
		return err
	}
	for _, dir := range []string{b.large.bundle, b.split} {
		if err := b.verifyFolder(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) verifyFolder(ctx context.Context, dir string) error {
	list, err := volumes(dir)
	if err != nil {
		return err
	}
	if err := warmFiles(list); err != nil {
		return err
	}
	copied := b.path("copies")
	clean := func(context.Context) error { return removeAll(copied) }
	each := func(script string) command {
		return append(command{"sh", "-c", `printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 ` + script, "sh"}, list...)
	}
	rows, err := byTurns(ctx, b.reps, b.note,
		side{name: "install verify", cmd: func() command { return b.verifyCommand(dir) }},
		side{name: "openssl dgst -sha256, in parallel", cmd: func() command { return each("openssl dgst -sha256") }},
		side{
			name:   "cat + sync, in parallel",
			before: func(context.Context) error { return errors.Join(removeAll(copied), os.Mkdir(copied, 0o700)) },
			cmd: func() command {
				return each(fmt.Sprintf(`sh -c 'to=%s/$(basename "$0"); cat "$0" > "$to" && sync "$to"'`, copied))
			},
			after: func(ctx context.Context, _ *sample) error { return clean(ctx) },
		})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("verify, volumes: %d", len(list))
	verified, hashed, wrote := rows[0].figures(), rows[1].figures(), rows[2].figures()
	slower, quicker := hashed, wrote
	if wrote.wall > hashed.wall {
		slower, quicker = wrote, hashed
	}
	b.report.atMost(name, verified, slower, 1.1)
	b.report.atMost(name, verified, quicker, 0)
	return nil
}

func (b *bench) verifyCommand(dir string) command {
	return command{b.install(), "verify", dir, "--key", b.key() + ".pub", "--progress", "none", "--output", "json"}
}

// ensureSplit builds the large bundle in four volumes.
func (b *bench) ensureSplit(ctx context.Context) error {
	if b.split != "" {
		return nil
	}
	list, err := volumes(b.large.bundle)
	if err != nil {
		return err
	}
	info, err := os.Stat(list[0])
	if err != nil {
		return err
	}
	b.split = b.path("split")
	size := strconv.FormatInt(info.Size()/4+info.Size()/100, 10)
	_, err = b.buildCommand(b.large, b.large.cache, b.split, "--locked", "--lock", b.large.bundle+"/lock.yaml", "--volume-size", size).run(ctx)
	return err
}
