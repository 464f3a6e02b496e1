// Package internet simulates what a whole release is fetched from. It publishes, under
// their real names, the images, charts, files and OS packages that the facts know of
// (test/facts), with generated content, and nothing else: what a release names and the
// facts do not know answers 404.
//
// Two things cannot come from the facts. Digests: generated content has its own, so
// the release is copied with every digest of the facts replaced by that of the content
// generated for it (CopyRelease); one that is not of the facts stays, and is found to
// be wrong. And the inside of files: which members an archive has, which objects
// and kustomizations the manifests that steps patch; that is taken from the release.
package internet
