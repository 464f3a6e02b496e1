package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/resident"
	"naru/pkg/sign"
	"naru/pkg/sign/verify"
)

type keygenOptions struct {
	prefix       string
	passwordFile string
	output       cli.OutputFlag
}

func newKeygen() *cobra.Command {
	var o keygenOptions
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key pair for signing bundles",
		Long: `keygen makes what cosign generate-key-pair makes: an encrypted private key and its
public key. The password is asked for, or taken from COSIGN_PASSWORD or a file; it is
never an argument. Nothing is overwritten.

The fingerprint it prints belongs on the approval form of the carry-in, so that the
isolated side can tell the public key from another's.`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runKeygen(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.prefix, "out-prefix", "cosign", "path of the files without .key and .pub")
	cmd.Flags().StringVar(&o.passwordFile, "password-file", "", "file holding the password")
	o.output.Add(cmd)
	return cmd
}

func runKeygen(ctx context.Context, o keygenOptions, stdout io.Writer) error {
	pair, err := sign.GenerateKeyPair(ctx, o.prefix, passwordSource(o.passwordFile).Password)
	if err != nil {
		return err
	}
	result := struct {
		Private     string `json:"private"`
		Public      string `json:"public"`
		Fingerprint string `json:"fingerprint"`
	}{pair.PrivatePath, pair.PublicPath, pair.Public.Fingerprint()}
	return o.output.Print(stdout, result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "private key  %s\npublic key   %s\nfingerprint  %s\n", result.Private, result.Public, verify.GroupFingerprint(result.Fingerprint))
		return err
	})
}

func passwordSource(file string) sign.PasswordSource {
	return sign.PasswordSource{File: file, LookupEnv: os.LookupEnv, Terminal: os.Stdin, Prompt: os.Stderr}
}

// lazySigner opens the private key at the first signature: a rerun with nothing
// to do then asks for no password.
type lazySigner struct {
	ref, passwordFile string

	once   sync.Once
	signer *sign.Signer
	err    error
}

func newLazySigner(ref, passwordFile string) *lazySigner {
	return &lazySigner{ref: ref, passwordFile: passwordFile}
}

func (s *lazySigner) load(ctx context.Context) (*sign.Signer, error) {
	s.once.Do(func() {
		// Deriving the key that opens the private key takes 64 MB, on purpose.
		resident.Trim()
		s.signer, s.err = sign.LoadSigner(ctx, s.ref, passwordSource(s.passwordFile).Password)
		resident.Trim()
	})
	return s.signer, s.err
}

// Prepare opens the private key ahead of the first signature if its password is at
// hand: a person is not asked, nor is a pipe read, before it is certain that something
// is to be signed. What goes wrong is reported by that signature.
func (s *lazySigner) Prepare(ctx context.Context) {
	if strings.Contains(s.ref, "://") {
		return
	}
	_, atHand := os.LookupEnv(sign.PasswordVariable)
	if s.passwordFile != "" {
		info, err := os.Stat(s.passwordFile)
		atHand = err == nil && info.Mode().IsRegular()
	}
	if atHand {
		_, _ = s.load(ctx)
	}
}

func (s *lazySigner) SignBundle(ctx context.Context, data []byte) ([]byte, error) {
	signer, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	return signer.SignBundle(ctx, data)
}

func (s *lazySigner) SignDetached(ctx context.Context, data []byte) ([]byte, error) {
	signer, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	return signer.SignDetached(ctx, data)
}

func (s *lazySigner) PublicKeyPEM(ctx context.Context) ([]byte, error) {
	signer, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	return signer.PublicKeyPEM(ctx)
}

// Ready finds a private key that is not there, before hours are spent on what it
// is to sign.
func (s *lazySigner) Ready() error {
	if strings.Contains(s.ref, "://") {
		return nil
	}
	if _, err := os.Stat(s.ref); err != nil {
		return fmt.Errorf("looking for the private key: %w", err)
	}
	if s.passwordFile != "" {
		if _, err := os.Stat(s.passwordFile); err != nil {
			return fmt.Errorf("looking for the password file: %w", err)
		}
	}
	return nil
}

// KnownPublicKey is the public key that lies beside the private one, when it
// does; it is had without a password, and proves nothing by itself.
func (s *lazySigner) KnownPublicKey() (verify.Key, bool) {
	const private = ".key"
	if len(s.ref) <= len(private) || s.ref[len(s.ref)-len(private):] != private {
		return verify.Key{}, false
	}
	path := s.ref[:len(s.ref)-len(private)] + ".pub"
	data, err := os.ReadFile(path)
	if err != nil {
		return verify.Key{}, false
	}
	key, err := verify.ParseKey(path, data)
	return key, err == nil
}
