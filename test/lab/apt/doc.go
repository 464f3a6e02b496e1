// Package apt is the lab's Debian archive: the real InRelease files, indexes and
// packages of Debian 12, under names of the lab.
//
//	https://deb.lab.test/debian              suites bookworm, bookworm-updates
//	https://deb.lab.test/debian-security     suite bookworm-security
//
// They come from wherever this machine's own apt has them, read at run time, and are
// kept in the cache: what is there stays as it is, so that everything made from it
// fits together. Held are the packages asked for with their closure, and what a
// minimal root file system is made of.
package apt
