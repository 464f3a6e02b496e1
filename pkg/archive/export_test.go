package archive

import "context"

// Scan is Reader.scan, for tests.
func Scan(ctx context.Context, r *Reader) error { return r.scan(ctx) }
