package fscheckpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"google.golang.org/protobuf/encoding/protowire"
)

// memory is a memory file: a large sparse file of the sandbox whose pages are
// those of all files of a tmpfs. Offsets in it are what segments refer to.
type memory struct {
	pages     io.ReaderAt // pages.img
	allocated []span
	committed []run
}

// span is a piece of a memory file as large as possible. Spans are in order and
// do not touch.
type span struct{ start, end int64 }

// run is a piece of a memory file whose bytes stand in pages.img from at on.
// What is in no run is zero.
type run struct {
	span
	at int64
}

// Fields of MemoryFileMetadataProto and MemAcctRangeProto, in gVisor's
// pkg/sentry/pgalloc/pgalloc.proto. They are read one by one, because most of
// the document is of no use here and would take many times its size as Go values.
const (
	fieldVersion = 1
	fieldMemAcct = 3

	fieldStart          = 1
	fieldEnd            = 2
	fieldKnownCommitted = 5
)

const metadataVersion = 1

var (
	errVersion = errors.New("unknown version of the pages' metadata")
	errShort   = errors.New("its length does not fit")
)

// parse reads a part of pages_meta.img: the length of a document and the
// document. The first committed range's bytes are at offset pages of pages.img,
// which has size bytes; parse returns where the last one's end.
func (m *memory) parse(b []byte, pages, size int64) (int64, error) {
	if len(b) < 8 || binary.LittleEndian.Uint64(b) != uint64(len(b)-8) {
		return 0, errShort
	}
	version := uint64(0)
	err := eachField(b[8:], func(f field) error {
		switch f.number {
		case fieldVersion:
			version = f.value
		case fieldMemAcct:
			var err error
			pages, err = m.addRange(f.bytes, pages, size)
			return err
		}
		return nil
	})
	if err == nil && version != metadataVersion {
		err = fmt.Errorf("%w: %d, only %d can be read", errVersion, version, metadataVersion)
	}
	return pages, err
}

// addRange adds a range of pages that is in use. Ranges come in order.
func (m *memory) addRange(b []byte, pages, size int64) (int64, error) {
	var start, end uint64
	committed := false
	err := eachField(b, func(f field) error {
		switch f.number {
		case fieldStart:
			start = f.value
		case fieldEnd:
			end = f.value
		case fieldKnownCommitted:
			committed = f.value != 0
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if start >= end || end > math.MaxInt64 || (start|end)%pageSize != 0 {
		return 0, fmt.Errorf("no range of pages goes from %d to %d", start, end)
	}
	s := span{int64(start), int64(end)}
	if err := m.allocate(s); err != nil || !committed {
		return pages, err
	}
	if n := s.end - s.start; n > size-pages {
		return 0, fmt.Errorf("it needs %d bytes from byte %d of the pages on, which end at %d", n, pages, size)
	}
	m.commit(run{s, pages})
	return pages + s.end - s.start, nil
}

func (m *memory) allocate(s span) error {
	last := len(m.allocated) - 1
	switch {
	case last < 0 || s.start > m.allocated[last].end:
		m.allocated = append(m.allocated, s)
	case s.start == m.allocated[last].end:
		m.allocated[last].end = s.end
	default:
		return fmt.Errorf("the range from %d to %d does not follow the one before it", s.start, s.end)
	}
	return nil
}

func (m *memory) commit(r run) {
	if last := len(m.committed) - 1; last >= 0 && m.committed[last].end == r.start {
		m.committed[last].end = r.end // its bytes follow too: they are in the order of the ranges
		return
	}
	m.committed = append(m.committed, r)
}

// holds reports whether all of s is in use.
func (m *memory) holds(s span) bool {
	i := after(m.allocated, s.start)
	return i < len(m.allocated) && m.allocated[i].start <= s.start && s.end <= m.allocated[i].end
}

// direct says where all of s stands in one piece in pages.img, if it does.
func (m *memory) direct(s span) (at int64, ok bool) {
	i := m.run(s.start)
	if i == len(m.committed) || s.start < m.committed[i].start || s.end > m.committed[i].end {
		return 0, false
	}
	return m.committed[i].at + s.start - m.committed[i].start, true
}

// after returns the first of the spans that ends after off.
func after(spans []span, off int64) int {
	return sort.Search(len(spans), func(i int) bool { return spans[i].end > off })
}

// run returns the first of the committed runs that ends after off.
func (m *memory) run(off int64) int {
	return sort.Search(len(m.committed), func(i int) bool { return m.committed[i].end > off })
}

// ReadAt implements io.ReaderAt. What nobody wrote is zeros; there is no end.
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	size := len(p)
	for i := m.run(off); len(p) > 0; i++ {
		if i == len(m.committed) || m.committed[i].start-off >= int64(len(p)) {
			clear(p)
			return size, nil
		}
		r := m.committed[i]
		if gap := r.start - off; gap > 0 {
			clear(p[:gap])
			p, off = p[gap:], r.start
		}
		n := min(int64(len(p)), r.end-off)
		if _, err := m.pages.ReadAt(p[:n], r.at+off-r.start); err != nil {
			return size - len(p), err
		}
		p, off = p[n:], off+n
	}
	return size, nil
}

// field is one field of a protobuf message: a number or bytes.
type field struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

// eachField calls fn for each field of the message b. Fields of other forms than
// varint and bytes are passed over.
func eachField(b []byte, fn func(field) error) error {
	for len(b) > 0 {
		number, form, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := field{number: number}
		switch form {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			f.number, n = 0, protowire.ConsumeFieldValue(number, form, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}
