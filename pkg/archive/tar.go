package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
)

const (
	tarBlock = 512
	// maxTarHeader is the longest header: a PAX header, its records, the header.
	maxTarHeader = 3 * tarBlock
	// tarEnd is the two zero blocks that end a tar.
	tarEnd = 2 * tarBlock
)

// tarHeader is the canonical header of a file, which depends on name and size
// alone: USTAR where that can say them, PAX otherwise.
func tarHeader(name string, size int64) ([]byte, error) {
	var buf bytes.Buffer
	err := tar.NewWriter(&buf).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
	if err != nil {
		return nil, fmt.Errorf("making the tar header of %q: %w", name, err)
	}
	if buf.Len() != tarBlock && buf.Len() != maxTarHeader {
		return nil, fmt.Errorf("making the tar header of %q: %w: %d bytes", name, ErrHeader, buf.Len())
	}
	return buf.Bytes(), nil
}

// parseTarHeader reads name and size from data and refuses it unless it is the
// canonical header of a name that is allowed and of a size that a blob may have.
func parseTarHeader(data []byte) (name string, size int64, err error) {
	if len(data) != tarBlock && len(data) != maxTarHeader {
		return "", 0, fmt.Errorf("%w: %d bytes", ErrHeader, len(data))
	}
	h, err := tar.NewReader(bytes.NewReader(data)).Next()
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if err := checkName(h.Name); err != nil {
		return "", 0, err
	}
	if h.Size < 0 || h.Size > maxBlob {
		return "", 0, fmt.Errorf("%w: %q of %d bytes: %w", ErrHeader, h.Name, h.Size, ErrTooLarge)
	}
	want, err := tarHeader(h.Name, h.Size)
	if err != nil {
		return "", 0, err
	}
	if !bytes.Equal(want, data) {
		return "", 0, fmt.Errorf("%w of %q", ErrHeader, h.Name)
	}
	return h.Name, h.Size, nil
}

// padding is the zero bytes that follow a file of size bytes in a tar.
func padding(size int64) int { return int(-size & (tarBlock - 1)) }

// cutPadding checks that data starts with n zero bytes and returns the rest.
func cutPadding(data []byte, n int) ([]byte, error) {
	if len(data) < n {
		return nil, fmt.Errorf("%w: padding cut off", ErrHeader)
	}
	for _, b := range data[:n] {
		if b != 0 {
			return nil, fmt.Errorf("%w: padding that is not zero", ErrHeader)
		}
	}
	return data[n:], nil
}
