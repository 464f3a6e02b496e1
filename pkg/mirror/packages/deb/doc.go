// Package deb reads the archives of Debian and its kin: signed InRelease files and
// the Packages indexes they name, versions and relations between packages, and the
// closure of what is asked for. It needs no tool of a distribution.
//
// # Trust
//
// An InRelease counts when one of the keys in the source's keyring made a signature
// over all of it, by SHA-256 or stronger; what stands before or behind the signed text
// is an error. Indexes count by the SHA-256 that InRelease has of them, packages by
// the SHA-256 that an index has of them. MD5 and SHA-1 are never looked at. Age is not
// judged: snapshots are old on purpose.
//
// # Closure
//
// Nothing is taken for installed. The packages asked for and every package marked
// Essential are followed over Pre-Depends and Depends; Recommends and Suggests are
// not. Of "a | b" both are taken, and of a virtual package every provider, since apt
// may choose any of them on a host that has one installed. Of each name the candidate
// is taken, the highest version of all sources (those marked NotAutomatic count only
// for names asked for by version), and where that does not meet a relation the highest
// that does. Of the source package of whatever is taken, the other packages of priority
// required, important or standard are taken too: hosts have them, and apt upgrades what
// comes of one source together, often because exact versions are asked for. What cannot be installed out of the sources is left out as long as
// another branch remains. Conflicts are not looked at: the closure is what may be
// needed, not what is installed together.
//
// One architecture is looked at, with "all": "name:any" needs a package that is
// Multi-Arch allowed, "name:arch" one of that very architecture.
package deb
