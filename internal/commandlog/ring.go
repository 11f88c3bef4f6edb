package commandlog

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ringHeader is the length of the line that a ring's file begins with: three
// decimal numbers of 20 digits, each followed by a space, and a newline. They are
//
//	size      bytes that the ring holds, which follow the line
//	head      length of the beginning that belongs to it
//	written   bytes that were put into it; byte number i is at i modulo size
//
// It is written after the bytes it counts, so that a process that is killed
// leaves a ring of which at most one piece is newer than the line says.
const ringHeader = 64

// ring is the file with the newest bytes of a stream.
type ring struct {
	file    *os.File
	size    int64
	head    int64
	written int64
	// unsafe is how many of the oldest bytes may be overwritten already, by the
	// last write of a process that was killed.
	unsafe int64
}

// piece is how much is written at once at most.
func (r *ring) piece() int64 { return max(1, min(256<<10, r.size/8)) }

// kept is how many bytes it still has.
func (r *ring) kept() int64 { return min(r.written, r.size-r.unsafe) }

// write puts p, at most a piece, behind the newest byte.
func (r *ring) write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		at := r.written % r.size
		if at == 0 {
			if _, err := r.file.Seek(ringHeader, io.SeekStart); err != nil {
				return n, err
			}
		}
		var k int
		// Not WriteAt, which does not tell how much it wrote before it failed.
		k, err = r.file.Write(p[n:][:min(int64(len(p)-n), r.size-at)])
		r.written += int64(k)
		n += k
	}
	if err != nil {
		return n, err
	}
	return n, r.writeHeader()
}

func (r *ring) writeHeader() error {
	_, err := r.file.WriteAt(fmt.Appendf(nil, "%020d %020d %020d \n", r.size, r.head, r.written), 0)
	return err
}

// sections are the parts of the file with the bytes it has, oldest first.
func (r *ring) sections() []section {
	n := r.kept()
	oldest := (r.written - n) % r.size
	first := min(n, r.size-oldest)
	return []section{{r.file, ringHeader + oldest, first}, {r.file, ringHeader, n - first}}
}

// errNoRing is said of a file that is none: its process was killed before it had
// a header, or a power failure took it.
var errNoRing = errors.New("not a ring")

// openRing opens a ring that another process, or a disk that was full, left.
func openRing(path string) (*ring, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &ring{file: file}
	line := make([]byte, ringHeader)
	_, err = file.ReadAt(line, 0)
	if err == nil {
		_, err = fmt.Sscanf(string(line), "%d %d %d \n", &r.size, &r.head, &r.written)
	}
	info, statErr := file.Stat()
	if err != nil || statErr != nil || r.size <= 0 || r.head < 0 || r.written < 0 || info.Size() < ringHeader+min(r.size, r.written) {
		file.Close()
		return nil, errNoRing
	}
	r.unsafe = r.piece()
	return r, nil
}

// join puts the ring's bytes behind the beginning, which is the first head bytes
// of file, with a mark between them if something is left out there. It returns by
// how much the file has grown beyond head. After an error it ends at head again.
func (r *ring) join(file *os.File, head int64) (grown int64, err error) {
	defer func() {
		if err != nil {
			file.Truncate(head) //nolint:errcheck // the ring's own header tells where the beginning ends
		}
	}()
	if err := file.Truncate(head); err != nil { // another attempt may have been cut off
		return 0, err
	}
	if _, err := file.Seek(head, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := file.WriteString(mark(r.head + r.written - head - r.kept()))
	if err != nil {
		return 0, err
	}
	grown = int64(n)
	for _, s := range r.sections() {
		if _, err := r.file.Seek(s.off, io.SeekStart); err != nil {
			return 0, err
		}
		// From file to file, so that the kernel copies.
		if _, err := io.CopyN(file, r.file, s.n); err != nil {
			return 0, err
		}
		grown += s.n
	}
	return grown, nil
}
