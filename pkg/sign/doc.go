// Package sign makes key pairs and signatures with cosign's own code: what it
// writes, cosign 2 and 3 and openssl verify with the commands of docs/verify.md.
//
// A [Signer] is loaded from an encrypted key file as `cosign generate-key-pair`
// makes it, from such a key in an environment variable (env://NAME), or from a
// key service through a sigstore plugin (NAME://KEY runs sigstore-kms-NAME). The
// SDKs of the cloud providers are not linked.
//
// Every signature is over SHA-256, whatever the key: cosign checks no other with a
// public key. Nothing here contacts a transparency log or any other network
// service; only a plugin may. Each signature is checked with package verify before
// it is handed out.
package sign
