package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// ReadSecret reads a one-line secret of at most 64 KiB from a file, so that it
// never stands in an argument.
func ReadSecret(path string) (string, error) {
	const limit = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading a password: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", fmt.Errorf("reading a password: %w", err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" || len(data) > limit || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("reading a password: file %q does not hold one line", path)
	}
	return secret, nil
}
