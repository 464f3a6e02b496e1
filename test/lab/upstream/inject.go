package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// wrap applies the table's faults to what next answers.
func (t *faultTable) wrap(g *registry, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := t.pick(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if rec, ok := w.(*recorder); ok {
			rec.req.Fault = f.Name
		}
		f.apply(g, next, w, r)
	})
}

func (f Fault) apply(g *registry, next http.Handler, w http.ResponseWriter, r *http.Request) {
	switch f.Kind {
	case Status:
		f.refuse(w)
	case Drop:
		cut(w, true)
	case Delay:
		if wait(r.Context(), time.Duration(f.Delay)) == nil {
			next.ServeHTTP(w, r)
		}
	case IgnoreRange:
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	case MovedTag:
		p := parsePath(r.URL.Path)
		moved, err := g.moved(p.repo, p.ref, f.Digest)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		r.URL.Path = "/v2/" + p.repo + "/manifests/" + moved
		next.ServeHTTP(w, r)
	default:
		b := &brokenBody{ResponseWriter: w, ctx: r.Context(), fault: f}
		next.ServeHTTP(b, r)
		if b.cut != nil {
			b.cut()
		}
	}
}

func (f Fault) refuse(w http.ResponseWriter) {
	if d := time.Duration(f.RetryAfter); d > 0 {
		seconds := int64((d + time.Second - 1) / time.Second)
		value := strconv.FormatInt(seconds, 10)
		if f.RetryForm == RetryDate {
			// Dates have no fractions: the next full second keeps the promise.
			value = time.Now().Add(time.Duration(seconds+1) * time.Second).UTC().Format(http.TimeFormat)
		}
		w.Header().Set("Retry-After", value)
	}
	registryError(w, f.Status, statusCode(f.Status), fmt.Errorf("injected by the lab: %s", f.Name))
}

func statusCode(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return "TOOMANYREQUESTS"
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusForbidden:
		return "DENIED"
	case http.StatusNotFound:
		return "MANIFEST_UNKNOWN"
	default:
		return "UNKNOWN"
	}
}

// errBroken ends a handler whose answer was cut.
var errBroken = errors.New("answer cut by the lab")

// brokenBody is a response whose body fails as the fault says. It has no ReadFrom,
// so that every byte passes Write.
type brokenBody struct {
	http.ResponseWriter
	ctx   context.Context
	fault Fault

	started bool
	base    int64  // offset of the body in the object
	after   int64  // Fault.After made absolute: in the object for Corrupt, else in the body
	sent    int64  // bytes of the body so far
	broken  bool   // the fault has fired
	cut     func() // how to end the connection
}

// Unwrap lets http.ResponseController reach the connection.
func (b *brokenBody) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *brokenBody) WriteHeader(status int) {
	if b.started {
		return
	}
	b.started = true
	h := b.Header()
	start, end, total := bodyRange(status, h)
	b.base, b.after = start, b.fault.After
	if b.after == Middle {
		b.after = (end - start) / 2
		if b.fault.Kind == Corrupt {
			b.after = total / 2
		}
	}
	switch b.fault.Kind {
	case Short:
		h.Set("Content-Length", strconv.FormatInt(min(b.after, end-start), 10))
	case WrongRange:
		if status == http.StatusPartialContent {
			shift := b.fault.Shift
			if shift == 0 {
				shift = 1
			}
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start+shift, end-1+shift, total+max(shift, 0)))
		}
	}
	b.ResponseWriter.WriteHeader(status)
}

// bodyRange reads from an answer's headers which bytes of the object, end
// excluded, its body holds.
func bodyRange(status int, h http.Header) (start, end, total int64) {
	if status == http.StatusPartialContent {
		if _, err := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &start, &end, &total); err == nil {
			return start, end + 1, total
		}
	}
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		return 0, 0, 0
	}
	return 0, n, n
}

func (b *brokenBody) Write(p []byte) (int, error) {
	if !b.started {
		b.WriteHeader(http.StatusOK)
	}
	if b.cut != nil {
		return 0, errBroken
	}
	switch b.fault.Kind {
	case Reset, Truncate, Short:
		return b.writeUntilCut(p)
	case Stall:
		return b.writeStalling(p)
	case Slow:
		return b.writeSlowly(p)
	case Corrupt:
		return b.write(b.flip(p))
	default:
		return b.write(p)
	}
}

func (b *brokenBody) write(p []byte) (int, error) {
	n, err := b.ResponseWriter.Write(p)
	b.sent += int64(n)
	return n, err
}

func (b *brokenBody) writeUntilCut(p []byte) (int, error) {
	if left := b.after - b.sent; left >= int64(len(p)) {
		return b.write(p)
	} else if left > 0 {
		if n, err := b.write(p[:left]); err != nil {
			return n, err
		}
	}
	switch b.fault.Kind {
	case Reset:
		b.cut = func() { cut(b.ResponseWriter, true) }
	case Truncate:
		b.cut = func() { cut(b.ResponseWriter, false) }
	default:
		b.cut = func() {}
	}
	return 0, errBroken
}

func (b *brokenBody) writeStalling(p []byte) (int, error) {
	left := b.after - b.sent
	if b.broken || left >= int64(len(p)) {
		return b.write(p)
	}
	n, err := b.write(p[:left])
	if err != nil {
		return n, err
	}
	b.broken = true
	if err := http.NewResponseController(b.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	if err := wait(b.ctx, time.Duration(b.fault.Delay)); err != nil {
		return n, err
	}
	m, err := b.write(p[left:])
	return n + m, err
}

// writeSlowly writes ten times a second.
func (b *brokenBody) writeSlowly(p []byte) (int, error) {
	const beat = 10
	chunk, pause := b.fault.Rate/beat, time.Second/beat
	if chunk == 0 {
		chunk, pause = 1, time.Second/time.Duration(b.fault.Rate)
	}
	var done int
	for done < len(p) {
		n, err := b.write(p[done:min(len(p), done+int(chunk))])
		done += n
		if err != nil {
			return done, err
		}
		if err := http.NewResponseController(b.ResponseWriter).Flush(); err != nil {
			return done, err
		}
		if err := wait(b.ctx, pause); err != nil {
			return done, err
		}
	}
	return done, nil
}

// flip returns p, or a copy with the bit flipped if the byte is in it.
func (b *brokenBody) flip(p []byte) []byte {
	at := b.after - b.base - b.sent
	if at < 0 || at >= int64(len(p)) {
		return p
	}
	bad := append([]byte(nil), p...)
	bad[at] ^= 0x01
	return bad
}

// wait returns after d, or with an error when ctx ends first; 0 waits for ctx.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// cut sends what is buffered and ends the connection: with a TCP reset, or
// cleanly.
func cut(w http.ResponseWriter, reset bool) {
	rc := http.NewResponseController(w)
	if rec, ok := w.(*recorder); ok && rec.req.Status != 0 {
		_ = rc.Flush() // the client may have gone
	}
	conn, _, err := rc.Hijack()
	if err != nil {
		return // HTTP/1 connections can be hijacked until the handler returns
	}
	if t, ok := conn.(*tls.Conn); ok && reset {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
