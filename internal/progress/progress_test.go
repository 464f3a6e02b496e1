package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// still is a meter that redraws only when told to, by tick.
func still(r renderer) (*meter, *clock, func()) {
	c := &clock{t: time.Unix(0, 0)}
	m := newMeter(r, time.Hour)
	m.now = c.now
	return m, c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.measure()
		m.r.update(m.cur)
	}
}

// events parses --progress json; every line must be one.
func events(t *testing.T, text string) []event {
	t.Helper()
	var out []event
	for line := range strings.Lines(text) {
		var e event
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out = append(out, e)
	}
	return out
}

// forward fails when the events of a step ever go backwards.
func forward(t *testing.T, list []event) {
	t.Helper()
	var last event
	for _, e := range list {
		if e.Event == "note" || e.Event == "close" {
			continue
		}
		if e.Event != "start" && e.Step == last.Step && (e.Done < last.Done || e.Total < last.Total || e.Seconds < last.Seconds) {
			t.Errorf("%+v after %+v", e, last)
		}
		if e.Total > 0 && e.Done > e.Total {
			t.Errorf("%+v: more is done than there is", e)
		}
		last = e
	}
}

func TestJSONNeverGoesBackwards(t *testing.T) {
	var buf bytes.Buffer
	m, c, tick := still(&jsonLines{w: &buf})
	m.Start("fetch", 100)
	for _, n := range []int64{10, 50, -30, 0, 90} { // a lie, and more than was announced
		m.Add(n)
		c.move(time.Second)
		tick()
	}
	m.Grow(-500)
	m.Grow(20)
	tick()
	m.Note("again in 1s\nwith \"quotes\" and \x1b[31mcolour")
	m.Start("pack", -1)
	tick()
	m.Close(nil)
	m.Close(errors.New("closed twice"))
	m.Note("after the end")
	list := events(t, buf.String())
	forward(t, list)
	if n := len(list); list[n-1].Event != "close" || list[n-1].Error != "" {
		t.Errorf("the last event is %+v", list[n-1])
	}
	names := map[string]int{}
	for _, e := range list {
		names[e.Event]++
	}
	if names["start"] != 2 || names["end"] != 2 || names["note"] != 1 || names["close"] != 1 {
		t.Errorf("events: %v", names)
	}
}

func TestJSONOfARunThatFailed(t *testing.T) {
	var buf bytes.Buffer
	m, _, _ := still(&jsonLines{w: &buf})
	m.Start("fetch", 10)
	m.Close(errors.New("no way"))
	list := events(t, buf.String())
	if last := list[len(list)-1]; last.Event != "close" || last.Error != "no way" {
		t.Errorf("the last event is %+v", last)
	}
	for _, e := range list {
		if e.Event == "end" {
			t.Error("a step that failed ended as if it had not")
		}
	}
}

func TestManyGoroutines(t *testing.T) {
	var buf bytes.Buffer
	m := newMeter(&jsonLines{w: &buf}, time.Microsecond)
	m.Start("fetch", 8000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				m.Add(1)
			}
		})
	}
	wg.Wait()
	m.Close(nil)
	list := events(t, buf.String())
	forward(t, list)
	for _, e := range list {
		if e.Event == "end" && e.Done != 8000 {
			t.Errorf("%d done, want 8000", e.Done)
		}
	}
}

func TestRateAndTimeLeft(t *testing.T) {
	m, c, tick := still(&plain{w: &bytes.Buffer{}})
	defer m.Close(nil)
	m.Start("fetch", 1000)
	if _, ok := m.cur.eta(); ok {
		t.Error("a time left before anything is known")
	}
	m.Add(100)
	c.move(time.Second)
	tick()
	if eta, ok := m.cur.eta(); !ok || m.cur.Rate != 100 || eta != 9*time.Second {
		t.Errorf("rate %v, time left %v %v, want 100 and 9s", m.cur.Rate, eta, ok)
	}
	m.Add(900)
	c.move(time.Second)
	tick()
	if _, ok := m.cur.eta(); ok {
		t.Error("a time left when all is done")
	}
}

func TestTerminalStaysInItsLine(t *testing.T) {
	var buf bytes.Buffer
	m, c, tick := still(&terminal{w: &buf, width: 20})
	m.Start("a step with a long name", 1<<40)
	for range 3 {
		m.Add(1 << 30)
		c.move(time.Second)
		tick()
	}
	text := buf.String()
	if strings.Contains(text, "\n") {
		t.Errorf("a running step fills more than a line: %q", text)
	}
	for _, line := range strings.Split(text, "\r\x1b[K") {
		if n := len([]rune(line)); n >= 20 {
			t.Errorf("%q has %d columns of 20", line, n)
		}
	}
	m.Close(nil)
}

func TestModes(t *testing.T) {
	for _, mode := range Modes() {
		var buf bytes.Buffer
		o := New(Mode(mode), &buf, 0)
		o.Start("fetch", 10)
		o.Add(10)
		o.Note("a note")
		o.Close(nil)
		text := buf.String()
		if colour := strings.Contains(text, "\x1b["); colour != (Mode(mode) == Terminal) {
			t.Errorf("%s: control sequences %v: %q", mode, colour, text)
		}
		if (text == "") != (Mode(mode) == None) {
			t.Errorf("%s wrote %q", mode, text)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 62: "4.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
