// Package trivy is the scanner: Trivy as a library, over content by digest.
//
// Every blob is analysed once, whatever number of artifacts share it, and what was
// found in it is kept in the cache by its digest and the versions of the analysers;
// what a database knows of it is kept by the database's digest too. Layers are known
// by the digest of their bytes and not by the DiffID that an image claims for them,
// so that no image can pass a layer off as another.
//
// Nothing here asks a network: the databases lie on the disk, the checks of charts
// and manifests are those built into Trivy.
//
// Trivy needs GOEXPERIMENT=jsonv2. Built without it, New gives a scanner that says so.
package trivy

// Version of Trivy, as in go.mod.
const Version = "0.72.0"

// name is what the scanner calls itself in reports.
const name = "trivy " + Version
