package frame

import (
	"fmt"
	"io/fs"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Decoder decodes frames of either kind. It is safe for concurrent use, Close
// included.
type Decoder struct {
	using sync.RWMutex // held for reading while a frame is decoded
	dec   *zstd.Decoder
}

// NewDecoder returns a decoder that runs at most jobs decodings at a time, at
// least one.
func NewDecoder(jobs int) (*Decoder, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(max(jobs, 1)),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(MaxContent),
		zstd.WithDecoderMaxMemory(MaxContent),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("making a zstd decoder: %w", err)
	}
	return &Decoder{dec: dec}, nil
}

// Close frees the decoder; decoding is fs.ErrClosed from then on. Closing again does
// nothing.
func (d *Decoder) Close() {
	d.using.Lock()
	defer d.using.Unlock()
	if d.dec != nil {
		d.dec.Close()
		d.dec = nil
	}
}

// Decode checks that data is exactly one frame of n bytes of content and appends
// the content to dst, which must have room for it and must not overlap data.
func (d *Decoder) Decode(dst, data []byte, n int) ([]byte, error) {
	if err := Check(data, n); err != nil {
		return dst, err
	}
	start := len(dst)
	if cap(dst)-start < n {
		return dst, fmt.Errorf("decoding a frame: %d bytes of room for %d", cap(dst)-start, n)
	}
	d.using.RLock()
	defer d.using.RUnlock()
	if d.dec == nil {
		return dst, fmt.Errorf("decoding a frame: %w", fs.ErrClosed)
	}
	out, err := d.dec.DecodeAll(data, dst[:start:start+n])
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if len(out)-start != n {
		return dst, fmt.Errorf("%w: it holds %d bytes, states %d", ErrFrame, len(out)-start, n)
	}
	return out, nil
}

// Encoder makes frames, compressed where that is shorter. It is safe for
// concurrent use, and what it makes of given content depends on nothing else.
type Encoder struct{ enc *zstd.Encoder }

// NewEncoder returns an encoder that runs at most jobs encodings at a time, at
// least one.
func NewEncoder(jobs int) (*Encoder, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(max(jobs, 1)),
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(MaxContent),
		zstd.WithSingleSegment(true),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("making a zstd encoder: %w", err)
	}
	return &Encoder{enc}, nil
}

// Append appends the frame of content, 1 to MaxContent bytes: the compressed one,
// or the raw one where that is not longer.
func (e *Encoder) Append(dst, content []byte) []byte {
	start := len(dst)
	dst = e.enc.EncodeAll(content, dst)
	if len(dst)-start >= RawSize(len(content)) {
		dst = AppendRaw(dst[:start], content)
	}
	return dst
}

// Close frees the encoder.
func (e *Encoder) Close() error { return e.enc.Close() }
