// Command dossier opens the pages of a dossier in a real browser, at the width of
// a screen, of a telephone and of A4 paper, and fails when a page asks for anything,
// writes to the console, is wider than its window, or lacks a glyph. It leaves
// screenshots and PDFs to look at.
//
//	dossier -pages bundles/demo/dossier -out .cache/dossier
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	pages := flag.String("pages", "", "folder of the dossier")
	out := flag.String("out", "", "folder for pictures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *pages, *out); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

func run(ctx context.Context, pages, out string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	d, err := startDriver(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	for lang, heading := range map[string]string{"ko": "반입 자산 목록", "en": "What comes in"} {
		page, err := filepath.Abs(filepath.Join(pages, "dossier."+lang+".html"))
		if err != nil {
			return err
		}
		if err := check(ctx, d, page, filepath.Join(out, "dossier."+lang), heading); err != nil {
			return fmt.Errorf("page %s: %w", lang, err)
		}
		fmt.Printf("%s: no request, no console message, no overflow; %s.pdf, %s.png\n", filepath.Base(page), "dossier."+lang, "dossier."+lang)
	}
	return nil
}

// widths of the window, in CSS pixels.
var widths = map[string]int{"": 1100, "-phone": 420}

func check(ctx context.Context, d *driver, page, out, heading string) error {
	for name, width := range widths {
		if _, err := d.call(ctx, http.MethodPost, d.session+"/window/rect", map[string]int{"width": width, "height": 1400}); err != nil {
			return err
		}
		if _, err := d.call(ctx, http.MethodPost, d.session+"/url", map[string]string{"url": "file://" + page}); err != nil {
			return err
		}
		var size struct{ Scroll, Client float64 }
		err := d.script(ctx, "return {Scroll: document.documentElement.scrollWidth, Client: document.documentElement.clientWidth}", &size)
		if err != nil {
			return err
		}
		if size.Scroll > size.Client+1 {
			return fmt.Errorf("at %d pixels it is %.0f wide, the window %.0f", width, size.Scroll, size.Client)
		}
		if err := d.file(ctx, http.MethodGet, "/screenshot", nil, out+name+".png"); err != nil {
			return err
		}
	}
	if err := quiet(ctx, d, page); err != nil {
		return err
	}
	if err := fitsPaper(ctx, d); err != nil {
		return err
	}
	print := map[string]any{"background": true, "page": map[string]float64{"width": 21, "height": 29.7}, "shrinkToFit": false}
	if err := d.file(ctx, http.MethodPost, "/print", print, out+".pdf"); err != nil {
		return err
	}
	return readsWell(ctx, out+".pdf", heading)
}

// paperWidth is what A4 has between the margins of the style sheet, in CSS pixels.
const paperWidth = 688

// fitsPaper fails when something would be cut off in print.
func fitsPaper(ctx context.Context, d *driver) error {
	for method, params := range map[string]map[string]any{
		"Emulation.setEmulatedMedia":         {"media": "print"},
		"Emulation.setDeviceMetricsOverride": {"width": paperWidth, "height": 1000, "deviceScaleFactor": 1, "mobile": false},
	} {
		if _, err := d.call(ctx, http.MethodPost, d.session+"/goog/cdp/execute", map[string]any{"cmd": method, "params": params}); err != nil {
			return err
		}
	}
	var cut []string
	const script = `return [...document.querySelectorAll("body, div, section, table, td, th, pre")]
		.filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1)
		.slice(0, 5).map(e => e.tagName + "." + e.className + ": " + e.textContent.slice(0, 60))`
	if err := d.script(ctx, script, &cut); err != nil {
		return err
	}
	for method, params := range map[string]map[string]any{"Emulation.setEmulatedMedia": {"media": ""}, "Emulation.clearDeviceMetricsOverride": {}} {
		if _, err := d.call(ctx, http.MethodPost, d.session+"/goog/cdp/execute", map[string]any{"cmd": method, "params": params}); err != nil {
			return err
		}
	}
	if len(cut) > 0 {
		return fmt.Errorf("on A4 this is cut off: %s", strings.Join(cut, "; "))
	}
	return nil
}

// quiet fails when the page wrote to the console or asked for anything but itself.
func quiet(ctx context.Context, d *driver, page string) error {
	console, err := d.logs(ctx, "browser")
	if err != nil {
		return err
	}
	if len(console) > 0 {
		return fmt.Errorf("the console says: %s", strings.Join(console, "; "))
	}
	events, err := d.logs(ctx, "performance")
	if err != nil {
		return err
	}
	seen := 0
	for _, text := range events {
		var e struct {
			Message struct {
				Method string
				Params struct{ Request struct{ URL string } }
			}
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return err
		}
		if e.Message.Method != "Network.requestWillBeSent" {
			continue
		}
		seen++
		if url := e.Message.Params.Request.URL; url != "file://"+page && !strings.HasPrefix(url, "data:") {
			return fmt.Errorf("it asks for %s", url)
		}
	}
	if seen == 0 {
		return errors.New("no request was seen, not even that for the page: the log is not to be trusted")
	}
	return nil
}

// readsWell looks into the PDF: its text can be read, with every font embedded.
func readsWell(ctx context.Context, pdf, heading string) error {
	text, err := exec.CommandContext(ctx, "pdftotext", "-layout", pdf, "-").Output()
	if err != nil {
		return fmt.Errorf("reading the PDF: %w", err)
	}
	if !strings.Contains(string(text), heading) {
		return fmt.Errorf("the PDF does not say %q", heading)
	}
	if strings.ContainsRune(string(text), '\uFFFD') {
		return errors.New("the PDF has characters without a glyph")
	}
	fonts, err := exec.CommandContext(ctx, "pdffonts", pdf).Output()
	if err != nil {
		return fmt.Errorf("reading the fonts of the PDF: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(fonts)), "\n")
	if len(lines) < 3 {
		return errors.New("the PDF has no fonts")
	}
	return nil
}
