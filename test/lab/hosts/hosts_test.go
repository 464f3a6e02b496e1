package hosts

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseHost(t *testing.T) {
	h, err := ParseHost("w1=10.77.0.13,no-modules,no-route,small-var=64M")
	if want := (Host{Name: "w1", Addr: "10.77.0.13", NoModules: true, NoRoute: true, SmallVar: "64M"}); err != nil || h != want {
		t.Errorf("got %+v, %v, want %+v", h, err, want)
	}
	for _, bad := range []string{"w1", "w1=10.78.0.1", "W1=10.77.0.13", "w1=" + Gateway, "w1=10.77.0.13,fast", "=10.77.0.13"} {
		if h, err := ParseHost(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, h)
		}
	}
}

// question asks for a.example, type A, with an id of 0x1234.
var question = append([]byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x01a\x07example\x00\x00\x01\x00\x01"...)

func TestNamesAreRefusedAndLogged(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	done := make(chan error)
	go func() { done <- ServeNames(ctx, conn, &log) }()
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, m := range [][]byte{[]byte("x"), question} { // what is no question gets no answer
		if _, err := client.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 512)
	n, err := client.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	answer = answer[:n]
	if answer[0] != 0x12 || answer[2]&0x80 == 0 || answer[3]&0x0f != 5 || !bytes.Equal(answer[12:], question[12:]) {
		t.Errorf("answer is % x", answer)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(log.String(), " a.example.\n") {
		t.Errorf("log is %q", log.String())
	}
}

func TestRefuseHostile(t *testing.T) {
	for _, m := range []string{"", "short", string(question[:14]), string(question[:len(question)-1]), strings.Repeat("\xff", 40), "\x00\x00\x80" + strings.Repeat("\x00", 20)} {
		if name, _, err := refuse([]byte(m)); err == nil {
			t.Errorf("%q was read as a question for %q", m, name)
		}
	}
}

// A process id is believed only while the process is the one that was meant.
func TestReadProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	for text, mark := range map[string]string{"1\n": "", "": "", "x": "", "99999999\n": ""} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if pid, err := readProcess(file, mark); err == nil {
			t.Errorf("%q was read as %d", text, pid)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Append(nil, os.Getpid()), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readProcess(file, filepath.Base(exe)); err != nil {
		t.Error(err)
	}
	if _, err := readProcess(file, "no such argument"); err == nil {
		t.Error("a process with another command line was taken for ours")
	}
}
