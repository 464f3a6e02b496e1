package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
	"github.com/sigstore/sigstore/pkg/signature/kms/fake"
)

const (
	pluginName = "sigstore-kms-narutest"
	pluginKey  = "NARU_TEST_PLUGIN_KEY" // a PKCS #8 file
)

// TestMain makes this very program the plugin of a key service when it is run
// under a plugin's name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		if err := servePlugin(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	m.Run()
}

func servePlugin() error {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		return err
	}
	der, err := os.ReadFile(os.Getenv(pluginKey))
	if err != nil {
		return handler.WriteErrorResponse(os.Stdout, err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return handler.WriteErrorResponse(os.Stdout, err)
	}
	ctx := context.WithValue(context.Background(), fake.KmsCtxKey{}, private)
	service, err := fake.LoadSignerVerifier(ctx, crypto.SHA256)
	if err != nil {
		return handler.WriteErrorResponse(os.Stdout, err)
	}
	_, err = handler.Dispatch(os.Stdout, os.Stdin, args, service)
	return err
}

func installPlugin(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, pluginName)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), der, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(pluginKey, filepath.Join(dir, "key"))
}

func neverAsk(t *testing.T) PasswordFunc {
	return func(context.Context, bool) ([]byte, error) {
		t.Error("asked for a password in vain")
		return nil, nil
	}
}

func TestKeyServiceThroughPlugin(t *testing.T) {
	installPlugin(t)
	signer, err := LoadSigner(t.Context(), "narutest://key/1", neverAsk(t))
	if err != nil {
		t.Fatal(err)
	}
	checkSigner(t, signer)
}

func TestKeyServiceFails(t *testing.T) {
	installPlugin(t)
	t.Setenv(pluginKey, filepath.Join(t.TempDir(), "missing"))
	_, err := LoadSigner(t.Context(), "narutest://key/1", neverAsk(t))
	var unsupported *UnsupportedRefError
	if err == nil || errors.As(err, &unsupported) {
		t.Errorf("got %v, want what the plugin says", err)
	}
}

func TestUnsupportedReferences(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for ref, plugin := range map[string]string{
		"awskms:///alias/naru":         "sigstore-kms-awskms",
		"gcpkms://projects/p":          "sigstore-kms-gcpkms",
		"hashivault://naru":            "sigstore-kms-hashivault",
		"azurekms://vault/key":         "sigstore-kms-azurekms",
		"k8s://namespace/key":          "",
		"gitlab://project":             "",
		"https://example.com/a.key":    "",
		"http://example.com/a.key":     "",
		"pkcs11:token=naru;object=k":   "",
		"../../bin/x://key":            "",
		"://key":                       "",
		strings.Repeat("x", 3) + "://": "sigstore-kms-xxx",
	} {
		_, err := LoadSigner(t.Context(), ref, neverAsk(t))
		var unsupported *UnsupportedRefError
		if !errors.As(err, &unsupported) || unsupported.Plugin != plugin {
			t.Errorf("%s: got %v, want an UnsupportedRefError with plugin %q", ref, err, plugin)
		}
	}
}
