package main

import (
	"context"
	"errors"
	"fmt"

	"naru/test/lab/layout"
	"naru/test/lab/trivydb"
	"naru/test/lab/workload"
)

// maxScanMemory is what a scan may hold, in bytes.
const maxScanMemory = 1 << 30

// measureScan scans a bundle of 300 images that share 40 base layers: with an empty
// cache, and again with a full one. It is held against hashing the volumes, which is
// the least that reading them takes.
func (b *bench) measureScan(ctx context.Context) (err error) {
	s, err := b.subject(ctx, workload.Shape{Name: "scan", Bytes: 600e6, Images: 300, Bases: 40, Layers: 1})
	if err != nil {
		return err
	}
	defer s.up.stop()
	if err := b.ensure(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeAll(s.cache, s.bundle)) }()
	database, err := b.database()
	if err != nil {
		return err
	}
	list, err := volumes(s.bundle)
	if err != nil {
		return err
	}
	if err := warmFiles(list); err != nil {
		return err
	}
	cache := b.path("scan-cache")
	scan := func() command {
		return command{b.bundle(), "scan", s.bundle, "--key", b.key() + ".pub", "--db", database, "--java-db", "none", "--cache", cache, "--progress", "none", "--output", "json"}
	}
	rows, err := byTurns(ctx, 1, b.note,
		side{name: "bundle scan", before: func(context.Context) error { return removeAll(cache) }, cmd: scan},
		side{name: "bundle scan again", cmd: scan},
		side{name: "openssl dgst -sha256", cmd: func() command { return append(command{"openssl", "dgst", "-sha256"}, list...) }})
	if err != nil {
		return err
	}
	b.report.atMost("scan, 300 images on 40 base layers", rows[0].figures(), rows[2].figures(), 0)
	b.report.atMost("scan again, all in the cache", rows[1].figures(), rows[2].figures(), 0)
	b.report.memory("memory: bundle scan, 300 images on 40 base layers", rows[0].figures(), maxScanMemory)
	return nil
}

// database is the lab's vulnerability database as an OCI layout.
func (b *bench) database() (string, error) {
	dir, to := b.path("trivy-db"), b.path("trivy-db-layout")
	if err := trivydb.Build(dir, trivydb.Default(), trivydb.Date()); err != nil {
		return "", err
	}
	w, err := layout.NewWriter(to)
	if err == nil {
		err = trivydb.Add(w, trivydb.Ref, dir)
	}
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		return "", fmt.Errorf("making a database: %w", err)
	}
	return to, nil
}
