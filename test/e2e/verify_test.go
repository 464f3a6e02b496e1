//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"
)

// cosign 2, cosign 3 and openssl verify the media as they were built, without a
// network, by the very commands of docs/verify.md.
func TestCosignAndOpensslVerify(t *testing.T) {
	script, err := filepath.Abs(filepath.Join("..", "verify", "run.sh"))
	if err != nil {
		t.Fatal(err)
	}
	r := ok(t, "bash", script, w.program("cosign2"), w.program("cosign3"), w.demo, w.pub)
	t.Logf("%s", r.stdout)
}
