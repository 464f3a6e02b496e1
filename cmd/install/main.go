// Install verifies, serves and pushes bundles on the isolated side.
package main

import (
	"context"
	"os"

	"naru/internal/cli"
)

func main() {
	ctx, cancel := cli.SignalContext(context.Background())
	code := cli.Program{Root: newRoot(), Judge: judge}.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	cancel()
	os.Exit(code)
}
