package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/test/lab/layout"
)

func TestServesUntilTold(t *testing.T) {
	w, err := layout.NewWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.File("https://dl.lab.test/f", func(to io.Writer) error { _, err := io.WriteString(to, "content"); return err }); err != nil {
		t.Fatal(err)
	}
	l, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	readyFile := filepath.Join(t.TempDir(), "ready.json")
	var stdout bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-ready", readyFile, "-dir", filepath.Join(t.TempDir(), "new"), l.Dir}, &stdout, io.Discard)
	}()
	doc := waitFor(t, readyFile)

	pem, err := os.ReadFile(doc.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Get(doc.URL + "/files/dl.lab.test/f")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(body) != "content" {
		t.Errorf("got %q, %v", body, err)
	}
	if want := "dl.lab.test=" + doc.Addr + "/files/dl.lab.test"; !strings.Contains(strings.Join(doc.RegistryMap, " "), want) {
		t.Errorf("registry map %q lacks %q", doc.RegistryMap, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	var printed ready
	if err := json.Unmarshal(stdout.Bytes(), &printed); err != nil || printed.Addr != doc.Addr {
		t.Errorf("printed %q (%v)", stdout.String(), err)
	}
}

func waitFor(t *testing.T, file string) ready {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var doc ready
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	t.Fatal("not ready in time")
	return ready{}
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {t.TempDir()}, {"-addr", "nowhere:x"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
