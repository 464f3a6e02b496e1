package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// ServeNames answers DNS questions on conn until ctx ends: it refuses all of them
// at once and writes each name asked for to log, once a question.
func ServeNames(ctx context.Context, conn net.PacketConn, log io.Writer) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("serving names: %w", err)
		}
		name, answer, err := refuse(buf[:n])
		if err != nil {
			continue // no question: nothing to answer
		}
		if _, err := fmt.Fprintf(log, "%s %s\n", from.String(), name); err != nil {
			return fmt.Errorf("serving names: %w", err)
		}
		if _, err := conn.WriteTo(answer, from); err != nil {
			return fmt.Errorf("serving names: %w", err)
		}
	}
}

// refuse reads the first question of a DNS message and makes the answer REFUSED.
func refuse(message []byte) (name string, answer []byte, err error) {
	const header = 12
	if len(message) < header || message[2]&0x80 != 0 {
		return "", nil, errors.New("no question")
	}
	var labels []string
	at := header
	for {
		if at >= len(message) {
			return "", nil, errors.New("name is cut short")
		}
		n := int(message[at])
		at++
		if n == 0 {
			break
		}
		if n > 63 || at+n > len(message) {
			return "", nil, errors.New("label is cut short")
		}
		labels = append(labels, string(message[at:at+n]))
		at += n
	}
	at += 4 // type and class
	if at > len(message) {
		return "", nil, errors.New("question is cut short")
	}
	answer = append([]byte(nil), message[:at]...)
	answer[2] = answer[2]&0x01 | 0x80 // an answer, recursion desired as asked
	answer[3] = 0x80 | 5              // recursion available, refused
	copy(answer[4:header], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	return strings.Join(labels, ".") + ".", answer, nil
}
