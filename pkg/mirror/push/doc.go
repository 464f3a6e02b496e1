// Package push carries the content of opened bundles into an OCI registry, byte
// for byte. [NewPlan] lays out every repository, tag, manifest and blob;
// [Plan.Execute] pushes that plan and [Plan.Check] compares it with what the
// registry holds.
//
// Names map as
//
//	registry.k8s.io/pause:3.10             -> <base>/registry.k8s.io/pause:3.10
//	localhost:5000/app:1                   -> <base>/localhost_5000/app:1
//	naru/files/etcd/etcdctl:3.5.24+build1  -> <base>/naru/files/etcd/etcdctl:3.5.24_build1
//
// # Order and rerun
//
// An artifact whose tag already has its digest is skipped after one HEAD. Blobs
// go before the manifests that need them, children before their index, subjects
// before referrers, the tag last: a run that is cut short leaves no tag on
// something incomplete, and the next run finds what is there by HEAD. A blob that
// several repositories need is uploaded once, to the first of them in the plan,
// and mounted into the others. Small blobs are not asked for first: the registry is
// told to mount them from where they are to be, and begins an upload where it cannot.
//
// # Comparing
//
// The comparison asks for every tag, manifest and blob by HEAD, once. In a Push an
// answer that the registry gave before counts, as long as nothing was sent there since:
// a run with nothing to do asks for each tag and each blob of each repository one time.
// What was uploaded or mounted is asked for after that, since a registry that took
// something need not have it. A tag that is there vouches for its manifest, by the
// digest, and for nothing below it.
//
// # Signatures
//
// Where a registry has other signatures under cosign's tag, the tag gets a list of theirs
// and the bundle's, see docs/decisions/0015-joined-signatures.md. That is a [Mapping] too.
//
// # Sparse indexes
//
// Bundles carry the children of chosen platforms only, under the original index.
// Where the registry refuses such an index, the tag gets the platform manifest
// itself, or, when several platforms are carried, an index over them that is a
// function of the original alone and names it in the annotation
// vnd.naru.original. Each such case is a [Mapping] of the result.
package push
