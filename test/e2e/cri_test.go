//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// cri is a client of a container runtime's image service, as the kubelet has one:
// gRPC by hand, since two calls with one string each are all that is needed.
// https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
type cri struct{ client *http.Client }

// newCRI is a client of the runtime at a socket.
func newCRI(socket string) *cri {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &cri{&http.Client{Transport: &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// pull pulls an image as a pod would and returns the id the runtime gives it, the
// digest of its config.
func (c *cri) pull(ctx context.Context, ref string) (string, error) {
	// PullImageRequest{image: ImageSpec{image: ref}}; PullImageResponse{image_ref}.
	answer, err := c.call(ctx, "PullImage", field(field([]byte(ref))))
	if err != nil {
		return "", fmt.Errorf("pulling %q: %w", ref, err)
	}
	return value(answer)
}

// call makes one unary call.
func (c *cri) call(ctx context.Context, method string, message []byte) ([]byte, error) {
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cri/runtime.v1.ImageService/"+method, bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	status := resp.Trailer
	if len(body) == 0 && resp.Header.Get("Grpc-Status") != "" {
		status = resp.Header // an answer of headers alone
	}
	if code := status.Get("Grpc-Status"); code != "0" {
		text, _ := url.PathUnescape(status.Get("Grpc-Message"))
		return nil, fmt.Errorf("%s: gRPC status %q: %s", method, code, text)
	}
	if len(body) < 5 {
		return nil, fmt.Errorf("%s: an answer of %d bytes", method, len(body))
	}
	return body[5:], nil
}

// field is a message whose field 1 holds data.
func field(data []byte) []byte {
	return append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(data))), data...)
}

// value is what field 1 of a message holds.
func value(message []byte) (string, error) {
	if len(message) > 0 && message[0] == 1<<3|2 {
		if size, n := binary.Uvarint(message[1:]); n > 0 && size <= uint64(len(message)-1-n) {
			return string(message[1+n:][:size]), nil
		}
	}
	return "", fmt.Errorf("a message that starts with %x", message[:min(len(message), 8)])
}
