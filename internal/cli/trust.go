package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/intake"
)

// TrustFlags say who is trusted to have signed a bundle.
type TrustFlags struct {
	keys     []string
	trustDir string
	insecure bool
}

// Add defines the flags on cmd; trustDir is the default trust folder.
func (f *TrustFlags) Add(cmd *cobra.Command, trustDir string) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.keys, "key", nil, "public key that may have signed the bundle (may be repeated)")
	fl.StringVar(&f.trustDir, "trust-dir", trustDir, "folder of trusted public keys (*.pub), with revoked ones in revoked/")
	fl.BoolVar(&f.insecure, "insecure-skip-verify", false, "read the bundle whoever signed it, or nobody, but for keys that the trust folder has revoked")
	_ = cmd.MarkFlagFilename("key", "pub", "pem")
	_ = cmd.MarkFlagDirname("trust-dir")
}

// Options are the intake options for paths. A skipped verification is said on stderr.
func (f *TrustFlags) Options(paths []string, stderr io.Writer) intake.Options {
	if f.insecure {
		_, _ = fmt.Fprintln(stderr, "WARNING: --insecure-skip-verify: the signature is not checked, but for keys that are revoked; anybody may have made this content")
	}
	return intake.Options{Paths: paths, Keys: f.keys, TrustDir: f.trustDir, SkipVerify: f.insecure}
}
