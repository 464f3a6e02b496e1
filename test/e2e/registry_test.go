//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
)

// startRegistry starts Debian's docker-registry on a free port of the loopback
// interface and returns its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	config := write(t, "registry.yml", fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n",
		filepath.Join(t.TempDir(), "registry"), addr))
	// Its output goes nowhere: it logs every access.
	start(t, w.command(t.Context(), "docker-registry", "serve", config))
	waitFor(t, "tcp", addr)
	return addr
}
