// Package sitekey keeps the key with which an isolated site signs what it reports:
// what was pushed and compared, installed, received. It is made at first use and
// never leaves the host; its public half is carried out once, so that those outside
// can tell this site's reports from others.
//
// The key is ECDSA P-256. Signatures are ASN.1 over SHA-256, beside what they sign
// under its name with ".sig", so that nothing but openssl is needed:
//
//	openssl dgst -sha256 -verify site.pub -signature report.json.sig report.json
package sitekey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"naru/internal/atomicfile"
	"naru/manifest"
	"naru/pkg/sign/verify"
)

// Names of files in the key's folder, and what is added to the name of a signed file.
const (
	PrivateName     = "site.key"
	PublicName      = "site.pub"
	SignatureSuffix = ".sig"
)

// DefaultDir is where a site's key lies.
const DefaultDir = "/var/lib/naru/site"

const privateType = "PRIVATE KEY"

// ErrExposed says that others than the owner could read the private key.
var ErrExposed = errors.New("the key's file is open to others than its owner")

// Key is a site's key. It is safe for concurrent use.
type Key struct {
	private *ecdsa.PrivateKey
	public  verify.Key
	// Created says that this call to Load made the key: its public half has to be
	// shown to whoever runs the program.
	Created bool
}

// Load reads the key in dir, or makes one where there is none. A key whose file
// others may read is refused with ErrExposed. Two programs that make the key at the
// same time end up with one and the same.
func Load(dir string) (*Key, error) {
	path := filepath.Join(dir, PrivateName)
	k, err := read(path)
	if err == nil {
		return k, k.publish(dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the site key: %w", err)
	}
	created, err := create(path)
	if err != nil {
		return nil, err
	}
	if k, err = read(path); err != nil {
		return nil, err
	}
	k.Created = created
	return k, k.publish(dir)
}

// publish writes the public half, unless it is there: the program that made the key
// may have been cut off before it came to that.
func (k *Key) publish(dir string) error {
	path := filepath.Join(dir, PublicName)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.Write(path, k.public.PEM(), 0o644)
}

func read(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the site key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading the site key %q: %w", path, ErrExposed)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the site key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != privateType {
		return nil, fmt.Errorf("reading the site key %q: it is no PEM block of type %q", path, privateType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the site key %q: %w", path, err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading the site key %q: it is a %T, want ECDSA", path, parsed)
	}
	public, err := verify.NewKey(filepath.Join(filepath.Dir(path), PublicName), &private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("reading the site key %q: %w", path, err)
	}
	return &Key{private: private, public: public}, nil
}

// create puts a new key at path unless somebody was first.
func create(path string) (created bool, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return false, fmt.Errorf("making the site key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return false, fmt.Errorf("making the site key: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return false, fmt.Errorf("making the site key: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	whole := filepath.Join(temp, PrivateName)
	if err := atomicfile.Write(whole, pem.EncodeToMemory(&pem.Block{Type: privateType, Bytes: der}), 0o600); err != nil {
		return false, err
	}
	// A link fails where a rename would replace what another program made.
	if err := os.Link(whole, path); errors.Is(err, fs.ErrExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("making the site key: %w", err)
	}
	return true, nil
}

// Public is the half that is carried out of the site.
func (k *Key) Public() verify.Key { return k.public }

// Sign makes a detached signature of data.
func (k *Key) Sign(data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	sig, err := ecdsa.SignASN1(rand.Reader, k.private, sum[:])
	if err != nil {
		return nil, fmt.Errorf("signing with the site key: %w", err)
	}
	return sig, nil
}

// WriteSigned writes a document, canonically encoded, and its signature beside it.
// The signature is there before the document is: one without it was never finished.
func (k *Key) WriteSigned(path string, document any) error {
	data, err := manifest.EncodeJSON(document)
	if err != nil {
		return err
	}
	sig, err := k.Sign(data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the folder of reports: %w", err)
	}
	if err := atomicfile.Write(path+SignatureSuffix, sig, 0o644); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o644)
}
