package store_test

import (
	"testing"

	"golang.org/x/sync/errgroup"
)

// BenchmarkIngest brings 1,500 blobs of 20 kB into a new store, as a release of
// many small images does; the package comment says what of it is fsync.
func BenchmarkIngest(b *testing.B) {
	const blobs, size = 1500, 20_000
	sources := make([]*source, blobs)
	for i := range sources {
		sources[i] = &source{content: content(uint64(i), size)}
	}
	for name, jobs := range map[string]int{"jobs=1": 1, "jobs=8": 8} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(blobs * size)
			for b.Loop() {
				s := open(b, b.TempDir())
				var group errgroup.Group
				group.SetLimit(jobs)
				for _, src := range sources {
					group.Go(func() error {
						_, _, err := s.Ingest(b.Context(), src.expected(), src.fetch, nil)
						return err
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
				if err := s.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIngestLarge shows what ingestion adds to hashing.
func BenchmarkIngestLarge(b *testing.B) {
	src := &source{content: content(1, 256<<20)}
	want := src.expected()
	b.SetBytes(want.Size)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := open(b, b.TempDir()).Ingest(b.Context(), want, src.fetch, nil); err != nil {
			b.Fatal(err)
		}
	}
}
