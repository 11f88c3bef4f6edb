package debian

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The format of ar archives is that of deb(5): a magic line, then for every
// member a header of 60 bytes, its data, and a newline if its size is odd.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	maxArMembers = 16 // a .deb has three
)

// arMember is a file in an ar archive.
type arMember struct {
	name string
	data *io.SectionReader
}

// readAr lists the members of the archive of size bytes in r. Everything about
// it must be as dpkg-deb writes it: no room is left for data that one reader
// sees and another does not.
func readAr(r io.ReaderAt, size int64) ([]arMember, error) {
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return nil, errors.New("it is not an ar archive")
	}
	var members []arMember
	for off := int64(len(arMagic)); off < size; {
		if len(members) == maxArMembers {
			return nil, fmt.Errorf("it has more than %d members", maxArMembers)
		}
		m, err := readArMember(r, off, size)
		if err != nil {
			return nil, fmt.Errorf("member %d: %w", len(members)+1, err)
		}
		members = append(members, m)
		if off, err = arNext(r, off+arHeaderSize+m.data.Size(), size); err != nil {
			return nil, fmt.Errorf("member %q: %w", m.name, err)
		}
	}
	return members, nil
}

func readArMember(r io.ReaderAt, off, size int64) (arMember, error) {
	var h [arHeaderSize]byte
	if size-off < arHeaderSize {
		return arMember{}, errors.New("its header is cut off")
	}
	if _, err := r.ReadAt(h[:], off); err != nil {
		return arMember{}, fmt.Errorf("its header cannot be read: %w", err)
	}
	if h[58] != '`' || h[59] != '\n' {
		return arMember{}, errors.New("its header has no end mark")
	}
	name := strings.TrimRight(string(h[:16]), " ")
	name = strings.TrimSuffix(name, "/") // as GNU ar writes it
	digits := strings.TrimRight(string(h[48:58]), " ")
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return arMember{}, fmt.Errorf("its size is %q", digits)
	}
	off += arHeaderSize
	if int64(n) > size-off {
		return arMember{}, fmt.Errorf("it claims %d bytes, %d are left", n, size-off)
	}
	return arMember{name, io.NewSectionReader(r, off, int64(n))}, nil
}

// arNext returns where the header after a member that ends at end begins.
func arNext(r io.ReaderAt, end, size int64) (int64, error) {
	if end%2 == 0 {
		return end, nil
	}
	var pad [1]byte
	if end >= size {
		return 0, errors.New("its padding is cut off")
	}
	if _, err := r.ReadAt(pad[:], end); err != nil {
		return 0, fmt.Errorf("its padding cannot be read: %w", err)
	}
	if pad[0] != '\n' {
		return 0, errors.New("its padding is no newline")
	}
	return end + 1, nil
}
