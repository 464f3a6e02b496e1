package build

import (
	"context"
	"errors"
	"fmt"
	"os"

	"naru/manifest"
)

// load reads release and content files and selects components.
//
// Inputs: Options. Outputs: selection, raw release files.
// Rerunning is safe: nothing is written.
func (r *run) load(context.Context) error {
	var errs []error
	if r.opts.Release != "" {
		set, err := manifest.LoadRelease(r.opts.Releases, r.opts.Release)
		if err != nil {
			return err
		}
		r.release = set
		for name, data := range set.Raw {
			r.raw["release/"+name] = data
		}
	}
	for i, path := range r.opts.ContentFiles {
		content, err := loadContent(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.contents = append(r.contents, content)
		r.raw[fmt.Sprintf("release/content/%02d.yaml", i+1)] = content.Raw
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	sel, err := manifest.Select(r.release, r.contents, r.opts.Select)
	if err != nil {
		return err
	}
	if sel.Name == "" {
		sel.Name = "site"
	}
	r.selection = sel
	if err := errors.Join(r.checkInstallers(), r.checkSigner()); err != nil {
		return err
	}
	r.dropUnselected()
	r.noteSupplied()
	return nil
}

// noteSupplied says which components are selected and carry nothing, since only
// the user may bring their content, and what to put where.
func (r *run) noteSupplied() {
	for _, c := range r.selection.Components {
		if c.Supply == manifest.SupplyUser {
			r.result.NotCarried = append(r.result.NotCarried, c.ID)
			r.opts.Progress.Note(fmt.Sprintf("WARNING: %s is not carried: %s", c.ID, c.SupplyNote))
		}
	}
}

func loadContent(path string) (*manifest.Content, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading content file: %w", err)
	}
	return manifest.DecodeContent(path, data)
}

// dropUnselected keeps only those component files of the release that count.
func (r *run) dropUnselected() {
	if r.release == nil {
		return
	}
	chosen := map[string]bool{}
	for _, id := range r.selection.IDs() {
		chosen[id] = true
	}
	for _, id := range r.release.Components {
		if !chosen[id] || r.selection.Own[id] {
			delete(r.raw, "release/components/"+id+".yaml")
		}
	}
}

// checkSigner finds out before anything is fetched whether the key can be used.
func (r *run) checkSigner() error {
	if s, ok := r.opts.Signer.(interface{ Ready() error }); ok {
		return s.Ready()
	}
	return nil
}
