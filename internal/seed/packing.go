package seed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pyro/api"
	"pyro/internal/tree"
)

// packing is how the tar of an archive is compressed.
type packing int

const (
	plain packing = iota
	gzipped
	zstandard
)

const (
	// maxWindow is the memory that a zstd stream may ask for: what "zstd --ultra
	// -22" needs.
	maxWindow = 128 << 20
	// An archive may unpack to bombFloor bytes however small it is, and to
	// bombRatio times its own size. Source code comes to 3 to 10 times.
	bombFloor = 1 << 30
	bombRatio = 200
	// maxPadding is how many zeros may follow the end mark. GNU tar fills up to
	// blocks of 10 KiB, tapes of old to some MiB.
	maxPadding = 16 << 20
	// headerRoom is what an entry takes in a tar besides its data: its header,
	// a PAX header, padding.
	headerRoom = 4 << 10
)

// Magic numbers of what people take for an archive that can be read here.
var foreign = []struct{ magic, what, remedy string }{
	{"PK\x03\x04", "a zip archive", "unzip it, then give the folder"},
	{"PK\x05\x06", "an empty zip archive", "give a folder"},
	{"\xfd7zXZ\x00", "packed with xz", "unpack it first: xz -d -k %s"},
	{"BZh", "packed with bzip2", "unpack it first: bzip2 -d -k %s"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, then give the folder"},
	{"Rar!", "a rar archive", "unpack it, then give the folder"},
	{"\x04\x22\x4d\x18", "packed with lz4", "unpack it first: lz4 -d %s"},
}

// sniffFile tells from a file's first bytes how it is packed, or what it is instead.
func sniffFile(path string, f *os.File) (packing, error) {
	head := make([]byte, 1024)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return 0, openError(path, err)
	}
	head = head[:n]
	switch {
	case n == 0:
		return 0, notSource(path, "an empty file")
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return gzipped, nil
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return zstandard, nil
	case isTar(head):
		return plain, nil
	}
	for _, k := range foreign {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			e := api.Errorf(api.KindUsage, "%s is %s; folders, .tar, .tar.gz and .tar.zst can be read", path, k.what)
			if strings.Contains(k.remedy, "%s") {
				return 0, e.WithHint(k.remedy, shellWord(path))
			}
			return 0, e.WithHint("%s", k.remedy)
		}
	}
	return 0, notSource(path, "a file of another kind")
}

// isTar says whether a tar may begin with head: with a header whose checksum is
// right, or with the end mark. The checksum is the sum of the header's bytes, its
// own eight counted as spaces. Source: POSIX, pax, "ustar Interchange Format".
func isTar(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	sum, zero := 8*int64(' '), true
	for i, b := range head[:512] {
		zero = zero && b == 0
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	declared, err := strconv.ParseInt(string(bytes.Trim(head[148:156], " \x00")), 8, 64)
	return zero || err == nil && declared == sum
}

// unpacked is the tar stream of an archive, bounded by the source's limits and
// in proportion to the size of the file.
type unpacked struct {
	ctx   context.Context
	r     io.Reader
	close func()
	read  int64
	most  int64
	bound error // what reading more than most is
	err   error // the first one but io.EOF, which archive/tar may disguise
}

func (s *Source) unpack(ctx context.Context, l tree.Limits) (*unpacked, error) {
	how, err := sniffFile(s.Path, s.f)
	if err != nil {
		return nil, err
	}
	file := bufio.NewReaderSize(io.NewSectionReader(s.f, 0, s.size), 1<<20)
	u := &unpacked{ctx: ctx, r: file, close: func() {}}
	if limit := l.Bytes + int64(l.Entries)*headerRoom + maxPadding; limit < s.mostBytes() {
		u.most, u.bound = limit, errLimit
	} else {
		u.most, u.bound = s.mostBytes(), errBomb
	}
	switch how {
	case plain:
		return u, nil
	case gzipped:
		z, err := gzip.NewReader(file)
		if err != nil {
			return nil, damaged(s.Path, err)
		}
		u.r, u.close = z, func() { z.Close() }
	case zstandard:
		z, err := zstd.NewReader(file, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, damaged(s.Path, err)
		}
		u.r, u.close = z, z.Close
	}
	return s.checkPacked(u)
}

// checkPacked looks whether it is a tar that was packed.
func (s *Source) checkPacked(u *unpacked) (*unpacked, error) {
	br := bufio.NewReaderSize(u.r, 256<<10)
	u.r = br
	head, err := br.Peek(1024)
	if err != nil && err != io.EOF {
		u.close()
		return nil, damaged(s.Path, err)
	}
	if !isTar(head) {
		u.close()
		return nil, notSource(s.Path, "a compressed file, but not a compressed tar")
	}
	return u, nil
}

// mostBytes is how much the archive may hold before it counts as a bomb.
func (s *Source) mostBytes() int64 { return max(bombFloor, s.size*bombRatio) }

func damaged(path string, err error) error {
	return api.Errorf(api.KindVerification, "%s is damaged: %w", path, err).
		WithHint("nothing was copied; make or fetch the archive again")
}

func (u *unpacked) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		u.err = err
		return 0, err
	}
	n, err := u.r.Read(p)
	if u.read += int64(n); u.read > u.most {
		err = u.bound
	}
	if err != nil && err != io.EOF {
		u.err = err
	}
	return n, err
}

// over says whether the stream ended because it is too long.
func (u *unpacked) over() bool { return u.err != nil && u.err == u.bound }

var errLimit = errors.New("it unpacks to more than the limits of entries and bytes allow")

var errBomb = fmt.Errorf("it unpacks to more than its size allows, which is 1 GiB or %d times the size of the file", bombRatio)

// finish reads what follows the end mark, so that checksums at the end of the
// stream are seen, and refuses anything there but zeros: "cat a.tar b.tar" would
// lose half of what the user meant.
func (u *unpacked) finish() error {
	buf := make([]byte, 64<<10)
	for total := 0; ; {
		n, err := u.Read(buf)
		if len(bytes.TrimLeft(buf[:n], "\x00")) > 0 {
			return errors.New("it is the last entry, but more data follows the archive's end mark")
		}
		if total += n; total > maxPadding {
			return fmt.Errorf("it is the last entry, but more than %d bytes follow the archive's end mark", maxPadding)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
