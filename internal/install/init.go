package install

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"text/template"

	"naru/internal/carried"
	"naru/internal/intake"
)

//go:embed site.yaml.tmpl
var siteTemplate string

// InitSite is an annotated site file for what bundles carry. It decodes as it is.
func InitSite(ctx context.Context, o intake.Options) ([]byte, error) {
	bundles, err := intake.OpenAll(ctx, o)
	if err != nil {
		return nil, err
	}
	defer intake.CloseAll(bundles)
	set, err := carried.Load(ctx, bundles)
	if err != nil {
		return nil, err
	}
	return renderSite(set)
}

func renderSite(set *carried.Set) ([]byte, error) {
	t, err := template.New("site").Parse(siteTemplate)
	if err != nil {
		return nil, fmt.Errorf("writing the site file: %w", err)
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, set); err != nil {
		return nil, fmt.Errorf("writing the site file: %w", err)
	}
	return buf.Bytes(), nil
}
