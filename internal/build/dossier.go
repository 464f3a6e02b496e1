package build

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/internal/dossier"
	"naru/manifest"
	"naru/pkg/sign/verify"
)

// dossierFiles are the papers of the carry-in, with their names in the media
// folder. The volumes are those of this bundle, in their order.
func (r *run) dossierFiles(volumes []Volume) ([]dossier.File, error) {
	bundle, err := manifest.DecodeBundle(r.bundleJSON)
	if err != nil {
		return nil, err
	}
	source := dossier.Source{
		Bundle: bundle, Digest: digest.FromBytes(r.bundleJSON), Lock: r.locked, Components: r.selection.Components,
		Signer: r.result.Fingerprint, Previous: r.opts.Previous,
	}
	for i, v := range volumes {
		source.Volumes = append(source.Volumes, dossier.Volume{Number: i + 1, Name: v.Name, Size: v.Size, SHA256: v.SHA256})
	}
	for _, f := range r.surveyFiles() {
		if f.Name != manifest.ScanReportName {
			continue
		}
		if source.Report, err = manifest.DecodeScanReport(f.Data); err != nil {
			return nil, err
		}
	}
	files, err := dossier.New(source).Files(dossier.Langs()...)
	for i := range files {
		files[i].Name = path.Join(dossier.Folder, files[i].Name)
	}
	return files, err
}

// writeDossier lays the papers beside the volumes.
func (r *run) writeDossier() ([]verify.Sum, error) {
	files, err := r.dossierFiles(r.result.Volumes)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(r.opts.OutDir, dossier.Folder), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of the dossier: %w", err)
	}
	var sums []verify.Sum
	for _, f := range files {
		if err := r.writeOut(filepath.FromSlash(f.Name), f.Data, 0o644); err != nil {
			return nil, err
		}
		sums = append(sums, sumOf(f.Name, f.Data))
	}
	return sums, nil
}

// sameDossier tells whether the list has the papers that this run would write, and
// no others.
func (r *run) sameDossier(listed []verify.Sum) (bool, error) {
	have := map[string]digest.Digest{}
	for _, s := range listed {
		if strings.HasPrefix(s.Name, dossier.Folder+"/") {
			have[s.Name] = s.Digest
		}
	}
	files, err := r.dossierFiles(r.result.Volumes)
	if err != nil {
		return false, err
	}
	for _, f := range files {
		if have[f.Name] != digest.FromBytes(f.Data) {
			return false, nil
		}
		delete(have, f.Name)
	}
	return len(have) == 0, nil
}
