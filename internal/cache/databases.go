package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// namedDatabases are the databases that references named the last time, by those of
// the notes in scan/refs that count.
func namedDatabases(scan string, counts func(fs.FileInfo) bool) ([]digest.Digest, error) {
	dir := filepath.Join(scan, "refs")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for databases: %w", err)
	}
	var out []digest.Digest
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !counts(info) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("looking for databases: %w", err)
		}
		var note struct {
			Digest digest.Digest `json:"digest"`
		}
		if json.Unmarshal(data, &note) == nil && note.Digest.Validate() == nil { // else it is as good as none
			out = append(out, note.Digest)
		}
	}
	return out, nil
}
