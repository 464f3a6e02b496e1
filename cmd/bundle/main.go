// Bundle builds signed bundles on a connected machine.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"naru/internal/cli"
)

// memoryLimit is where the garbage collector starts to work harder, in bytes: a
// build host may be a small one. Opening a private key while content arrives needs
// some 120 MB, all else less.
const memoryLimit = 128 << 20

// scanMemoryLimit is the same while content is scanned: the scanner's rules alone
// take more than the rest of a build.
const scanMemoryLimit = 700 << 20

func main() {
	debug.SetMemoryLimit(memoryLimit)
	ctx, cancel := cli.SignalContext(context.Background())
	code := cli.Program{Root: newRoot(), Judge: judge}.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	cancel()
	os.Exit(code)
}
