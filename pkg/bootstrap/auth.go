package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"naru/manifest"
)

// ErrNoIdentity is returned when there is nothing to log in with.
var ErrNoIdentity = errors.New("no key to log in with: set ssh.keyFile, or load one into the SSH agent")

// NewRunner makes the Runner for a host of a site.
func NewRunner(site *manifest.Site, h *manifest.SiteHost) (Runner, error) {
	if h.Local {
		return NewLocal(h.Name), nil
	}
	c := site.SSHFor(h)
	auth, err := authMethods(c.KeyFile, c.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	o := SSHOptions{Host: h.Name, Address: h.Address, Port: c.Port, User: c.User, Sudo: c.User != "root", Auth: auth,
		HostKeys: HostKeys{Host: h.Name, Fingerprints: c.Fingerprints, KnownHosts: knownHostsFile(c.KnownHostsFile)}}
	if j := c.Jump; j != nil {
		keyFile, passphrase := j.KeyFile, j.Passphrase
		if keyFile == "" {
			keyFile, passphrase = c.KeyFile, c.Passphrase
		}
		auth, err := authMethods(keyFile, passphrase)
		if err != nil {
			return nil, fmt.Errorf("%s: jump host %s: %w", h.Name, j.Address, err)
		}
		known := j.KnownHostsFile
		if known == "" {
			known = c.KnownHostsFile
		}
		o.Jump = &SSHOptions{Host: j.Address, Address: j.Address, Port: j.Port, User: j.User, Auth: auth,
			HostKeys: HostKeys{Host: j.Address, Fingerprints: j.Fingerprints, KnownHosts: knownHostsFile(known)}}
	}
	return NewSSH(o), nil
}

func knownHostsFile(path string) string {
	if path == "" {
		return DefaultKnownHosts()
	}
	return expandHome(path)
}

// authMethods are the ways to log in: the key file that is named, else the SSH
// agent, else the user's own keys.
func authMethods(keyFile string, passphrase *manifest.SecretRef) ([]ssh.AuthMethod, error) {
	if keyFile != "" {
		signer, err := readKey(expandHome(keyFile), passphrase)
		if err != nil {
			return nil, err
		}
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, nil
	}
	if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		return []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return agentSigners(socket) })}, nil
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if signer, err := readKey(expandHome("~/.ssh/"+name), nil); err == nil {
			return []ssh.AuthMethod{ssh.PublicKeys(signer)}, nil
		}
	}
	return nil, ErrNoIdentity
}

func agentSigners(socket string) ([]ssh.Signer, error) {
	conn, err := net.Dial("unix", socket) //nolint:noctx,gosec // the socket of the user's own agent, in a callback without a context
	if err != nil {
		return nil, fmt.Errorf("asking the SSH agent: %w", err)
	}
	// The signers use the connection as long as they live.
	return agent.NewClient(conn).Signers()
}

func readKey(path string, passphrase *manifest.SecretRef) (ssh.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the SSH key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && passphrase != nil {
		word, perr := passphrase.Value()
		if perr != nil {
			return nil, perr
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, []byte(word))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the SSH key %q: %w", path, err)
	}
	return signer, nil
}

// expandHome resolves a leading "~/".
func expandHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}
