package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"naru/pkg/serve"
)

// walkFiles visits every file below a folder of the depot's tree.
func (d *demo) walkFiles(ctx context.Context, client *http.Client, dir string, visit func(path, sha256 string) error) error {
	body, err := d.get(ctx, client, dir)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	var list serve.FileList
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return err
	}
	for _, e := range list.Entries {
		if strings.HasSuffix(e.Name, "/") {
			if err := d.walkFiles(ctx, client, dir+e.Name, visit); err != nil {
				return err
			}
			continue
		}
		if err := visit(dir+e.Name, e.Digest.Encoded()); err != nil {
			return err
		}
	}
	return nil
}
