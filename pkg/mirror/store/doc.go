// Package store keeps blobs under their digests in a folder, so that what was
// fetched once is not fetched again, and what was fetched in part is fetched on
// from there.
//
// # Layout
//
//	oci-layout, index.json   the folder is an OCI image layout (with an empty index)
//	blobs/sha256/<hex>       a blob; it lies here only if it is whole
//	encoded/<hex>.zst        the packed form of a blob, as the archive stores it
//	encoded/<hex>.raw        empty: the blob was looked at and is not worth packing
//	ingest/sha256-<hex>      the beginning of a blob that is being fetched
//	ingest/key-<hex>         likewise, of content whose digest nobody knows yet
//	ingest/key-<hex>.sum     length and digest of what is good of it
//	ingest/*.lock            held while somebody fetches
//	ingest/tmp-*             being written
//	lock                     shared by all who have the store open
//
// Folders and files are for their owner alone: private images lie in them.
//
// # What is believed, and when
//
// A blob goes through ingest, hash, fsync, rename. The rename comes after the
// fsync of the content, so neither kill -9 nor a power cut leaves anything under
// blobs/ that is not what its name says. The rename itself becomes durable with
// [Store.Sync], once for all blobs; should the power fail before, the blob lies in
// ingest/ whole and is hashed there, or is fetched again.
//
// The beginning of a blob in ingest/ is not synced and not believed: it is hashed
// again before more is added, and when the whole has another digest it is fetched
// once more from its start before that is reported. Where no digest is known to
// compare with, the beginning counts only as far as its .sum file vouches for it.
//
// A disk may still rot. [Store.Fresh] tells which blobs this process has hashed;
// [Store.OpenBlob] hands out the others as they lie, and whoever passes them on
// must hash them. [Store.Read] and [Store.Verify] hash, and drop what is damaged,
// so that the next run fetches it.
//
// # The cost of fsync
//
// Every blob is synced by the goroutine that ingested it. File systems commit
// concurrent syncs together, so with eight of them the cost nearly vanishes
// (ext4 on a virtual disk, two cores, 1,500 files written and renamed):
//
//	                         20 kB each   400 kB each
//	no fsync                     0.05 s   0.4 to 2.3 s
//	fsync, one at a time         1.42 s         3.65 s
//	fsync, 8 at a time           0.34 s         0.91 s
//	fsync, 32 at a time          0.35 s         0.79 s
//	all written, then 8 syncs    0.49 s         0.93 s
//
// Ingesting 1,500 blobs of 20 kB, locks and all, takes 0.7 to 1.0 s with eight jobs
// and up to 3.3 s with one (BenchmarkIngest, on a machine that others load).
//
// Renaming first and keeping a journal of what is not synced would save a part of
// the 0.3 s and would need the journal itself to be durable before each rename,
// the identity of the boot, which not every system has, and a second hashing of
// everything after a power cut. It is not worth that.
//
// # Several goroutines, several processes
//
// A [Store] is safe for concurrent use, and several processes may have the same
// folder open. Who wants a blob that another goroutine or process is fetching
// waits for it. Pruning needs the folder for itself ([Options].Alone): while anybody
// has it open nothing can be removed, and who opens it meanwhile waits a moment and
// then gets [ErrBusy]. The folder must be on a file system that has file locks.
//
// The time of a blob's last change is that of its last use, as far as users call
// [Store.Touch].
package store
