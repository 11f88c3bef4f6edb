package oci

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"pyro/api"
)

// compression is how a tar stream is packed.
type compression int

const (
	uncompressed compression = iota
	gzipped
	zstandard
	xzed
	sniffed // docker-save archives do not say
)

// decompress wraps r. The caller bounds what it reads from the result.
func decompress(r io.Reader, c compression) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	if c == sniffed {
		c = sniff(br)
	}
	switch c {
	case gzipped:
		return gzip.NewReader(br)
	case zstandard:
		// Low memory and one goroutine ahead: the window is the largest the
		// decoder may be talked into.
		d, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(zstdWindowSize), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case xzed:
		x, err := xz.NewReader(br, zstdWindowSize)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	}
	return io.NopCloser(br), nil
}

// sniff tells the compression from the first bytes.
func sniff(br *bufio.Reader) compression {
	head, _ := br.Peek(6)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return xzed
	}
	return uncompressed
}

// Flatten hands the uncompressed tar stream of each layer to apply, the lowest
// layer first. It verifies every diff ID after apply has read the stream, so the
// result may be used only when Flatten returns nil. Call Fetch before. Progress
// (may be nil) is told compressed bytes.
func (img *Image) Flatten(ctx context.Context, apply func(layer string, r io.Reader) error, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	meter := &meter{total: img.Size(), report: progress}
	budget := int64(maxImageBytes)
	for i, l := range img.Layers {
		name := img.Name
		if d := shortDigest(l); d != "" {
			name = fmt.Sprintf("%s layer %d (%s)", img.Name, i+1, d)
		}
		n, err := img.flattenLayer(ctx, l, name, budget, meter, apply)
		if err != nil {
			return err
		}
		budget -= n
	}
	return nil
}

// flattenLayer returns the uncompressed bytes it saw.
func (img *Image) flattenLayer(ctx context.Context, l Layer, name string, budget int64, meter *meter, apply func(string, io.Reader) error) (int64, error) {
	packed, err := img.source.open(l)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	defer packed.Close()
	c, ok := layerCompression[l.MediaType]
	if !ok {
		c = sniffed
	}
	// The bytes beyond the declared size are nobody's: a source that holds more is cut.
	plain, err := decompress(meter.reader(ctx, io.LimitReader(packed, l.Size)), c)
	if err != nil {
		return 0, damaged(ctx, name, err)
	}
	defer plain.Close()
	stream := &boundedHash{r: plain, left: budget, hash: sha256.New(), name: img.Name}
	if err := apply(name, stream); err != nil {
		if stream.err != nil && !errors.Is(stream.err, io.EOF) {
			return 0, damaged(ctx, name, stream.err)
		}
		return 0, err
	}
	// The diff ID covers the padding behind the tar as well.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return 0, damaged(ctx, name, err)
	}
	if got := "sha256:" + hex.EncodeToString(stream.hash.Sum(nil)); l.DiffID != "" && got != l.DiffID {
		return 0, mismatchf("%s: its content has the diff ID %s, the config promises %s", name, got, l.DiffID)
	}
	return stream.n, nil
}

// damaged turns an error of reading or decompressing a layer into a typed one.
func damaged(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "%s: %w", name, context.Cause(ctx))
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return mismatchf("%s is damaged: %w", name, err)
}

// boundedHash hashes what passes through and stops a decompression bomb.
type boundedHash struct {
	r    io.Reader
	n    int64
	left int64
	hash hash.Hash
	name string
	err  error
}

func (b *boundedHash) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.left -= int64(n)
	b.hash.Write(p[:n])
	if b.left < 0 {
		err = unsafef("%s: its layers unpack to more than %d bytes", b.name, int64(maxImageBytes))
	}
	b.err = err
	return n, err
}

// meter adds up the bytes of several streams and reports at most once a
// megabyte, and at the end of each stream.
type meter struct {
	total, done, told int64
	report            func(done, total int64)
}

func (m *meter) add(n int64, force bool) {
	m.done += n
	if force || m.done-m.told >= 1<<20 {
		m.told = m.done
		m.report(min(m.done, m.total), m.total)
	}
}

func (m *meter) reader(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := r.Read(p)
		m.add(int64(n), err != nil)
		return n, err
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// shortDigest is how messages name a layer.
func shortDigest(l Layer) string {
	d := cmp.Or(l.Digest, l.DiffID)
	return d[:min(len(d), len("sha256:")+12)]
}
