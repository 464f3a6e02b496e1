// Package verify checks who signed what a medium carries: bundle.json by its
// sigstore bundle (v0.3, a signature by key, no transparency log), and SHA256SUMS
// by a detached signature that openssl checks too.
//
// It is the light half of package sign: it links nothing but the standard library
// and go-digest, so that the install program can carry it to a bare host. All
// input is taken as hostile: sizes are capped, formats are read strictly, and
// nothing of a document is believed before its signature holds.
//
// Trust is a [Keyring]. The zero Keyring trusts nobody and verifies nothing, a
// revoked key is refused even where it is trusted as well.
//
// Every signature is one over SHA-256: ECDSA in ASN.1 on P-256 (what naru and
// cosign make), P-384 or P-521, RSA PKCS #1 v1.5 with 2048 bits or more, and, for
// bundle.json alone, Ed25519 over the document itself.
package verify
