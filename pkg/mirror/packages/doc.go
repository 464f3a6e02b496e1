// Package packages carries the OS packages of distributions: what all package
// systems have in common. A [Resolver] a family knows the metadata of its vendor;
// everything else is here.
//
// The way of a distribution on a platform:
//
//  1. The metadata of each source is fetched and its signature verified with the
//     vendor keyring that naru carries, never with one that came along.
//  2. The closure of the packages asked for is computed from an empty system: nothing
//     is taken for installed, and every branch of a choice is followed.
//  3. Metadata and package files go into the store by digest, as the vendor has them.
//  4. They become OCI artifacts (see manifest.PackagesArtifactType).
//
// What a lock pins is taken without asking the network, and is verified against the
// vendor's signature again when it is carried.
package packages
