package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// driver talks to a chromedriver of its own on loopback (W3C WebDriver).
type driver struct {
	base    string
	session string
	cmd     *exec.Cmd
	profile string
}

// startDriver starts chromedriver and, through it, a headless Chromium that does
// nothing of its own accord.
func startDriver(ctx context.Context) (*driver, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "naru-dossier-")
	if err != nil {
		return nil, err
	}
	d := &driver{base: fmt.Sprintf("http://127.0.0.1:%d", port), profile: profile}
	d.cmd = exec.CommandContext(ctx, "chromedriver", fmt.Sprintf("--port=%d", port), "--silent")
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting chromedriver: %w", err)
	}
	if err := d.ready(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, d.open(ctx)
}

func (d *driver) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := d.call(ctx, http.MethodGet, "/status", nil); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for chromedriver: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (d *driver) open(ctx context.Context) error {
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + d.profile, "--window-size=1100,1400",
	}
	value, err := d.call(ctx, http.MethodPost, "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":        "chrome",
		"goog:chromeOptions": map[string]any{"args": args},
		"goog:loggingPrefs":  map[string]string{"browser": "ALL", "performance": "ALL"},
	}}})
	if err != nil {
		return errors.Join(err, d.stop())
	}
	var s struct{ SessionID string }
	if err := json.Unmarshal(value, &s); err != nil {
		return err
	}
	d.session = "/session/" + s.SessionID
	return d.blank(ctx)
}

// blank leaves the browser's own first page and forgets what it asked for.
func (d *driver) blank(ctx context.Context) error {
	if _, err := d.call(ctx, http.MethodPost, d.session+"/url", map[string]string{"url": "about:blank"}); err != nil {
		return err
	}
	for _, kind := range []string{"browser", "performance"} {
		if _, err := d.logs(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

func (d *driver) stop() error {
	if d.session != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = d.call(ctx, http.MethodDelete, d.session, nil) // the process is ended either way
	}
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	return os.RemoveAll(d.profile)
}

// call makes one request and returns its value.
func (d *driver) call(ctx context.Context, method, path string, body any) (json.RawMessage, error) {
	var payload io.Reader
	if method == http.MethodPost {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer.Value)
	}
	return answer.Value, nil
}

// file asks for something that comes as base64 and writes it.
func (d *driver) file(ctx context.Context, method, path string, body any, to string) error {
	value, err := d.call(ctx, method, d.session+path, body)
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// script runs JavaScript beside the page and decodes what it returns.
func (d *driver) script(ctx context.Context, text string, out any) error {
	value, err := d.call(ctx, http.MethodPost, d.session+"/execute/sync", map[string]any{"script": text, "args": []any{}})
	if err != nil {
		return err
	}
	return json.Unmarshal(value, out)
}

// logs are the entries of one of the browser's logs since they were last asked for.
func (d *driver) logs(ctx context.Context, kind string) ([]string, error) {
	value, err := d.call(ctx, http.MethodPost, d.session+"/se/log", map[string]string{"type": kind})
	if err != nil {
		return nil, err
	}
	var entries []struct{ Message string }
	if err := json.Unmarshal(value, &entries); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Message)
	}
	return out, nil
}
