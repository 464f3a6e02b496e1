package rpm

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// Identity is what a package file says it is.
type Identity struct {
	Name, Arch string
	EVR        EVR
	Signer     *Signer
}

// Is tells whether the file is the package that metadata lists.
func (i *Identity) Is(p *Package) bool {
	return i.Name == p.Name && i.Arch == p.Arch && i.EVR == p.EVR
}

func (i *Identity) String() string { return i.Name + "-" + i.EVR.String() + "." + i.Arch }

// VerifyPackage reads a package file to its end and verifies that a key of the ring
// signed it: a signature over the header, whose digest of the payload the payload
// has; or, in older packages, one over both. what names the file in errors, which
// are *SignatureError unless reading failed.
func (k *Keyring) VerifyPackage(what string, r io.Reader) (*Identity, error) {
	sig, main, err := readHeaders(r)
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", what, err)
	}
	signer, err := k.verifyHeader(what, sig, main)
	if err != nil {
		return nil, err
	}
	// Signatures over both, and the digest of the payload, hash while it is read.
	whole, wholeHash := wholeSignature(sig)
	payload, want, covered := payloadDigest(main)
	var sinks []io.Writer
	if wholeHash != nil {
		wholeHash.Write(main.raw)
		sinks = append(sinks, wholeHash)
	}
	if covered {
		sinks = append(sinks, payload)
	}
	if _, err := io.Copy(io.MultiWriter(sinks...), r); err != nil {
		return nil, fmt.Errorf("verifying %s: reading: %w", what, err)
	}
	if covered && hex.EncodeToString(payload.Sum(nil)) != want {
		return nil, &SignatureError{what, "its payload is not the one that its header names"}
	}
	if signer == nil || !covered {
		if whole == nil {
			return nil, &SignatureError{what, unsigned(signer)}
		}
		if signer, err = k.check(whole, wholeHash); err != nil {
			return nil, &SignatureError{what, err.Error()}
		}
	}
	id := main.identity()
	id.Signer = signer
	return id, nil
}

func unsigned(header *Signer) string {
	if header == nil {
		return "it is not signed"
	}
	return "its signature does not cover the payload"
}

// readHeaders reads everything before the payload.
func readHeaders(r io.Reader) (sig, main *header, err error) {
	lead := make([]byte, leadSize)
	if _, err := io.ReadFull(r, lead); err != nil {
		return nil, nil, fmt.Errorf("reading the lead: %w", noEOF(err))
	}
	if !bytes.Equal(lead[:4], leadMagic) {
		return nil, nil, fmt.Errorf("reading the lead: this is no RPM package")
	}
	if sig, err = readHeader(r, maxSigData); err != nil {
		return nil, nil, err
	}
	if pad := (8 - len(sig.raw)%8) % 8; pad > 0 {
		if _, err := io.CopyN(io.Discard, r, int64(pad)); err != nil {
			return nil, nil, fmt.Errorf("reading the header: %w", noEOF(err))
		}
	}
	main, err = readHeader(r, maxHeaderData)
	return sig, main, err
}

// verifyHeader verifies the signatures over the header. Nil without an error means
// that there is none.
func (k *Keyring) verifyHeader(what string, sig, main *header) (*Signer, error) {
	for _, tag := range []uint32{sigRSA, sigDSA} {
		if !sig.has(tag) {
			continue
		}
		return k.VerifyDetached(what, main.raw, sig.bytes(tag))
	}
	return nil, nil
}

// wholeSignature is a signature over header and payload that can be verified, with
// its hash.
func wholeSignature(sig *header) (*signature, hash.Hash) {
	for _, tag := range []uint32{sigPGP, sigGPG} {
		list, err := parseSignatures(sig.bytes(tag))
		if err != nil {
			continue
		}
		if h, err := list[0].newHash(); err == nil {
			return list[0], h
		}
	}
	return nil, nil
}

// payloadDigest is the digest of the compressed payload that the header names, with
// the hash to compute it.
func payloadDigest(main *header) (h hash.Hash, want string, ok bool) {
	algorithm, ok := main.number(tagPayloadAlgo)
	if !ok || !main.has(tagPayloadDigest) {
		return nil, "", false
	}
	switch algorithm {
	case 8:
		return crypto.SHA256.New(), main.str(tagPayloadDigest), true
	case 10:
		return crypto.SHA512.New(), main.str(tagPayloadDigest), true
	}
	return nil, "", false
}

func (h *header) identity() *Identity {
	id := &Identity{Name: h.str(tagName), Arch: h.str(tagArch), EVR: EVR{Version: h.str(tagVersion), Release: h.str(tagRelease)}}
	if epoch, ok := h.number(tagEpoch); ok {
		id.EVR.Epoch = int(epoch)
	}
	if h.str(tagSourceRPM) == "" {
		id.Arch = "src"
	}
	return id
}
