package sign

import (
	"context"
	"crypto"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"naru/pkg/sign/verify"
)

// maxPrivateKeySize is the largest private key file, in bytes, that is read.
const maxPrivateKeySize = 64 << 10

// LoadSigner loads a private key. The reference is one of
//
//   - a path to a key file as `cosign generate-key-pair` or `import-key-pair` makes it;
//   - env://NAME, such a key in an environment variable;
//   - NAME://KEY, a key in a key service, through the program sigstore-kms-NAME.
//
// The password is asked for only when there is an encrypted key to open; opening it
// takes about 64 MiB of memory for a moment. Keys of ECDSA and of RSA will do,
// others are a *KeyTypeError: openssl and cosign would not agree on what they sign.
// Other errors: *KeyFormatError, *UnsupportedRefError, ErrPassword, what the
// PasswordFunc and the key service return.
func LoadSigner(ctx context.Context, ref string, password PasswordFunc) (*Signer, error) {
	signer, err := openSigner(ctx, ref, password)
	if err != nil {
		return nil, err
	}
	public, err := signer.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("loading the private key %q: asking for its public half: %w", ref, err)
	}
	key, err := verify.NewKey(ref, public)
	if err != nil {
		return nil, &KeyTypeError{Ref: ref, Err: err}
	}
	if !signsDigests(public) {
		return nil, &KeyTypeError{Ref: ref, Err: fmt.Errorf("key of type %T, want ECDSA or RSA", public)}
	}
	return &Signer{signer: signer, key: key}, nil
}

func openSigner(ctx context.Context, ref string, password PasswordFunc) (signature.Signer, error) {
	scheme, rest, isURI := strings.Cut(ref, "://")
	switch {
	case isURI && scheme == "env":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return nil, &KeyFormatError{Ref: ref, Reason: "the environment variable is not set"}
		}
		return openKey(ctx, ref, []byte(value), password)
	case strings.HasPrefix(ref, "pkcs11:"), isURI && !pluginScheme(scheme):
		return nil, &UnsupportedRefError{Ref: ref}
	case isURI:
		return openService(ctx, ref, scheme)
	}
	data, err := readKeyFile(ref)
	if err != nil {
		return nil, err
	}
	return openKey(ctx, ref, data, password)
}

// pluginScheme tells whether a plugin may answer to scheme; the others mean
// something of their own to cosign.
func pluginScheme(scheme string) bool {
	switch scheme {
	case "", "http", "https", "file", "k8s", "gitlab":
		return false
	}
	return !strings.ContainsAny(scheme, `/\.`)
}

// openService reaches a key service through its sigstore plugin.
func openService(ctx context.Context, ref, scheme string) (signature.Signer, error) {
	signer, err := kms.Get(ctx, ref, crypto.SHA256)
	var missing *kms.ProviderNotFoundError
	if errors.As(err, &missing) {
		return nil, &UnsupportedRefError{Ref: ref, Plugin: cliplugin.PluginBinaryPrefix + scheme}
	}
	if err != nil {
		return nil, fmt.Errorf("loading the private key %q: %w", ref, err)
	}
	return signer, nil
}

// openKey decrypts a key in PEM.
func openKey(ctx context.Context, ref string, data []byte, password PasswordFunc) (signature.Signer, error) {
	if reason := refuseKey(data); reason != "" {
		return nil, &KeyFormatError{Ref: ref, Reason: reason}
	}
	secret, err := password(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("loading the private key %q: %w", ref, err)
	}
	signer, err := cosign.LoadPrivateKey(data, secret, nil)
	clear(secret)
	if err != nil {
		return nil, fmt.Errorf("loading the private key %q: %w: %w", ref, ErrPassword, err)
	}
	return signer, nil
}

// refuseKey says why data is not an encrypted key as cosign makes it; empty when it
// looks like one. What is left to go wrong is the password, or a damaged key.
func refuseKey(data []byte) string {
	block, _ := pem.Decode(data)
	if block == nil {
		return "no PEM block in it"
	}
	switch block.Type {
	case cosign.SigstorePrivateKeyPemType, cosign.CosignPrivateKeyPemType:
		if !json.Valid(block.Bytes) {
			return "what is in its PEM block is damaged"
		}
		return ""
	case cosign.PrivateKeyPemType, cosign.ECPrivateKeyPemType, cosign.RSAPrivateKeyPemType:
		return "it is not encrypted; `cosign import-key-pair` makes an encrypted key of it"
	case "PUBLIC KEY":
		return "it is the public half"
	}
	return fmt.Sprintf("its PEM block is a %q, want %q", block.Type, cosign.SigstorePrivateKeyPemType)
}

func readKeyFile(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("loading the private key: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxPrivateKeySize+1))
	if err != nil {
		return nil, fmt.Errorf("loading the private key %q: %w", path, err)
	}
	if len(data) > maxPrivateKeySize {
		return nil, &KeyFormatError{Ref: path, Reason: fmt.Sprintf("larger than %d bytes", maxPrivateKeySize)}
	}
	return data, nil
}
