package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"naru/internal/dossier"
)

// dossierAgain makes the papers out of the bundle alone and compares them with those
// that the build laid beside the volumes.
func (d *demo) dossierAgain(ctx context.Context) (string, error) {
	again := filepath.Join(d.work, "dossier")
	var r struct{ Files []string }
	if err := d.program(ctx, &r, "bundle", "dossier", d.out, "--key", d.key()+".pub", "--out", again); err != nil {
		return "", err
	}
	for _, name := range r.Files {
		laid, err := os.ReadFile(filepath.Join(d.out, dossier.Folder, name))
		if err != nil {
			return "", err
		}
		made, err := os.ReadFile(filepath.Join(again, name))
		if err != nil {
			return "", err
		}
		if !bytes.Equal(laid, made) {
			return "", fmt.Errorf("%s differs from what the build laid beside the volumes", name)
		}
	}
	data, err := os.ReadFile(filepath.Join(again, "dossier.json"))
	if err != nil {
		return "", err
	}
	var doc dossier.Document
	if err := json.Unmarshal(data, &doc); err != nil {
		return "", err
	}
	if doc.Scan.Totals.Artifacts == 0 || len(doc.Scan.Databases) == 0 {
		return "", errors.New("the dossier says nothing of the scan")
	}
	return fmt.Sprintf("%d papers, the same again; %d assets, %d findings", len(r.Files), len(doc.Assets), len(doc.Scan.Findings)), nil
}
