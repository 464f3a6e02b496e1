// Command hello is the lab's application: it answers every request with the name of
// the pod and of the node that it runs on. "hello ask COUNT URL..." asks others, on a
// new connection each time, and prints what they answer.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	run := serve
	if len(os.Args) > 1 {
		run = ask
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func serve([]string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              ":8080",
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, "hello from %s on %s\n", name, os.Getenv("NODE_NAME"))
		}),
	}
	return server.ListenAndServe()
}

func ask(args []string) error {
	if len(args) < 3 || args[0] != "ask" {
		return fmt.Errorf("want: hello ask COUNT URL")
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, url := range args[2:] {
		for range count {
			resp, err := client.Get(url)
			if err != nil {
				return err
			}
			_, err = io.Copy(os.Stdout, resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}
