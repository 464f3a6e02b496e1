package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// HostKeys decides whether a server is the host it should be.
type HostKeys struct {
	// Host is its name in messages.
	Host string
	// Fingerprints are accepted ones, "SHA256:..."; with any, KnownHosts is not asked.
	Fingerprints []string
	// KnownHosts is a file in OpenSSH's format.
	KnownHosts string
}

// HostKeyError is a server whose key is not one that is known for the host.
type HostKeyError struct {
	Host, Address string
	// Got is the fingerprint that the server showed.
	Got string
	// Want are those known; none when the host is not known at all.
	Want []string
	// Source is where they are written.
	Source string
}

func (e *HostKeyError) Error() string {
	if len(e.Want) == 0 {
		return fmt.Sprintf("host key %s of %s (%s) is not known in %s", e.Got, e.Host, e.Address, e.Source)
	}
	return fmt.Sprintf("host key of %s (%s) is %s, in %s it is %q", e.Host, e.Address, e.Got, e.Source, e.Want)
}

// check refuses the key of a server that is not the host.
func (k HostKeys) check(address string, remote net.Addr, key ssh.PublicKey) error {
	got := ssh.FingerprintSHA256(key)
	if len(k.Fingerprints) > 0 {
		if slices.Contains(k.Fingerprints, got) {
			return nil
		}
		return &HostKeyError{Host: k.Host, Address: address, Got: got, Want: k.Fingerprints, Source: "the site file"}
	}
	callback, err := k.callback()
	if err != nil {
		return err
	}
	err = callback(address, remote, key)
	var unknown *knownhosts.KeyError
	if errors.As(err, &unknown) {
		e := &HostKeyError{Host: k.Host, Address: address, Got: got, Source: k.KnownHosts}
		for _, w := range unknown.Want {
			e.Want = append(e.Want, ssh.FingerprintSHA256(w.Key))
		}
		return e
	}
	return err
}

func (k HostKeys) callback() (ssh.HostKeyCallback, error) {
	callback, err := knownhosts.New(k.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("reading known hosts: %w", err)
	}
	return callback, nil
}

// algorithms are the lists of host key algorithms to try, in order: a server shows
// one key only, of the first algorithm that both sides have.
func (k HostKeys) algorithms(address string) [][]string {
	families := map[string][]string{
		ssh.KeyAlgoED25519:  {ssh.KeyAlgoED25519},
		ssh.KeyAlgoECDSA256: {ssh.KeyAlgoECDSA256}, ssh.KeyAlgoECDSA384: {ssh.KeyAlgoECDSA384}, ssh.KeyAlgoECDSA521: {ssh.KeyAlgoECDSA521},
		ssh.KeyAlgoRSA: {ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	}
	if len(k.Fingerprints) > 0 {
		return [][]string{
			families[ssh.KeyAlgoED25519],
			{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
			families[ssh.KeyAlgoRSA],
		}
	}
	callback, err := k.callback()
	if err != nil {
		return [][]string{nil}
	}
	var unknown *knownhosts.KeyError
	if !errors.As(callback(address, &net.TCPAddr{}, noKey{}), &unknown) {
		return [][]string{nil}
	}
	var known []string
	for _, w := range unknown.Want {
		known = append(known, families[w.Key.Type()]...)
	}
	return [][]string{known}
}

// noKey is a key that no host has: asked about it, known_hosts tells those it knows.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// DefaultKnownHosts is the user's own file.
func DefaultKnownHosts() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return "known_hosts"
	}
	return filepath.Join(home, ".ssh", "known_hosts")
}
