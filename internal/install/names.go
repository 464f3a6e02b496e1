package install

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"naru/internal/atomicfile"
)

// namesFile keeps the names that the depot's certificate was first made for.
const namesFile = "names"

// keptNames are the names of the first start in the state folder dir, else now,
// which are kept. The authority is constrained to those of its first use: were
// they taken anew at each start, an interface that comes with the cluster's
// network would end the next one.
func keptNames(dir string, now []string) ([]string, error) {
	if dir == "" {
		return now, nil
	}
	path := filepath.Join(dir, namesFile)
	data, err := os.ReadFile(path)
	if err == nil {
		return strings.Fields(string(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the names of the certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	return now, atomicfile.Write(path, []byte(strings.Join(now, "\n")+"\n"), 0o644)
}

// defaultNames are the names a certificate is made for when none are given: the
// listening address, or all of this host's when it listens on every one.
func defaultNames(addr net.Addr) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	tcp, ok := addr.(*net.TCPAddr)
	if ok && !tcp.IP.IsUnspecified() {
		names = append(names, tcp.IP.String())
	} else if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				names = append(names, n.IP.String())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
