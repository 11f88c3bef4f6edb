package debian

import (
	"bufio"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// maxDictionary bounds the memory that a compressed file may ask for: 64 MiB is
// what "xz -9" needs, and Debian uses less.
const maxDictionary = 64 << 20

// decompress returns a reader of what r holds, compressed as the file name
// suffix says ("", ".gz", ".xz" or ".zst"). It fails after limit bytes, so that
// a bomb cannot go off, and with an error on malformed input of any kind.
func decompress(r io.Reader, suffix string, limit int64) (io.ReadCloser, error) {
	d, err := decompressor(r, suffix)
	if err != nil {
		return nil, fmt.Errorf("%s data: %w", suffix, err)
	}
	return &boundedReader{r: d, left: limit, limit: limit}, nil
}

func decompressor(r io.Reader, suffix string) (io.ReadCloser, error) {
	switch suffix {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	case ".xz":
		return newXZReader(r)
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("unknown compression")
}

// boundedReader fails instead of giving more than limit bytes.
type boundedReader struct {
	r           io.ReadCloser
	left, limit int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if int64(n) > b.left {
		return int(b.left), fmt.Errorf("it unpacks to more than %d bytes", b.limit)
	}
	b.left -= int64(n)
	return n, err
}

func (b *boundedReader) Close() error { return b.r.Close() }

// xzReader turns panics of the decoder into errors: it is a translation of C
// code, in which an index out of range would be a fault of the input.
type xzReader struct{ r *xz.Reader }

func newXZReader(r io.Reader) (x *xzReader, err error) {
	defer recoverXZ(&err)
	z, err := xz.NewReader(r, maxDictionary)
	return &xzReader{z}, err
}

func (x *xzReader) Read(p []byte) (n int, err error) {
	defer recoverXZ(&err)
	return x.r.Read(p)
}

func (x *xzReader) Close() error { return nil }

func recoverXZ(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("xz: data is corrupt (%v)", p)
	}
}
