// Command harbor answers as a Harbor out of a recording until it is interrupted, or
// records a live one. See package naru/test/lab/harbor.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"naru/test/lab/harbor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	address := flag.String("addr", "127.0.0.1:8443", "`address` to listen on")
	recording := flag.String("recording", "", "`path` of the recording, without .yaml")
	dir := flag.String("dir", "", "`folder` for ca.crt and pushed content")
	flag.Parse()
	if err := harbor.Serve(ctx, *address, *recording, *dir); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}
