package serve

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A body that is announced and never sent must not hold a connection.
func TestBodyThatNeverArrives(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	for head, want := range map[string]int{
		"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n":                http.StatusRequestEntityTooLarge,
		"POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n":             http.StatusMethodNotAllowed,
		"PUT /v2/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nsome of it": http.StatusMethodNotAllowed,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(ts.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * bodyGrace)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		if resp.StatusCode != want || !resp.Close {
			t.Errorf("%q: status %d, close %t", head, resp.StatusCode, resp.Close)
		}
		if _, err := io.Copy(io.Discard, br); err != nil {
			t.Errorf("%q: the connection stays open: %v", head, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
