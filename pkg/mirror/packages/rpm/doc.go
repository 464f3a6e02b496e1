// Package rpm reads RPM repositories and finds, without any tool of a
// distribution, the packages that a host needs to install some: the closure over
// requires, provides and files from an empty system, with every branch.
//
// What is carried stays the vendor's: repomd.xml and the files it names are kept
// byte by byte, so that dnf on the isolated host checks the vendor's signatures
// itself. This package reads them to choose packages, and checks the signature in
// each package's header before it is believed.
//
//   - ParseRepomd, ReadPrimary, ReadFilelists and ReadModules read the metadata.
//   - Compare orders versions as rpm does, with ~ and ^.
//   - Resolve finds the closure over one or more repositories.
//   - Keyring.VerifyDetached checks repomd.xml.asc, Keyring.VerifyPackage a package.
//
// Everything here is read from hostile hands: sizes are bounded where they are
// read, and the parsers are fuzzed.
package rpm
