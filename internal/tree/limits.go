package tree

import (
	"cmp"
	"fmt"
	"math"
	"strings"
)

// Limits bounds what one archive may make of a tree, whatever the archive says
// about itself. A zero field stands for its default, which is far above every
// real image: the limits exist to stop decompression bombs.
type Limits struct {
	// Entries bounds the archive's entries together with the parent folders made
	// for them (2,000,000). It bounds memory too: names, symlink targets and
	// extended attributes may take 512 bytes an entry on average.
	Entries int
	// Bytes bounds the file data taken from the archive (64 GiB).
	Bytes int64
	// NameLen bounds the length of a whole path in bytes (16 KiB). A single name
	// is bounded by 255 always.
	NameLen int
	// Depth bounds the parts of a path (1,024).
	Depth int
}

// The default limits.
const (
	DefaultEntries = 2_000_000
	DefaultBytes   = 64 << 30
	DefaultNameLen = 16 << 10
	DefaultDepth   = 1024
)

const (
	maxName      = 255       // bytes of one name, Linux's NAME_MAX and EROFS's limit
	maxTarget    = 4095      // bytes of a symlink target, Linux's PATH_MAX without the NUL
	maxXattrs    = 64 << 10  // bytes of one node's extended attributes, Linux's XATTR_LIST_MAX
	maxMajor     = 1<<12 - 1 // Linux's device numbers
	maxMinor     = 1<<20 - 1
	maxID        = math.MaxUint32 - 1 // the largest number itself is Linux's "no user"
	maxHops      = 40                 // symlinks followed on one path, as in Linux
	metaPerEntry = 512
	metaFloor    = 1 << 20
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Entries: cmp.Or(l.Entries, DefaultEntries),
		Bytes:   cmp.Or(l.Bytes, int64(DefaultBytes)),
		NameLen: cmp.Or(l.NameLen, DefaultNameLen),
		Depth:   cmp.Or(l.Depth, DefaultDepth),
	}
}

// meter counts what an archive has used of its limits.
type meter struct {
	Limits
	entries int
	bytes   int64
	meta    int64 // bytes of names, targets and attributes kept in memory
}

func newMeter(l Limits) *meter { return &meter{Limits: l.withDefaults()} }

// unmetered is the meter between archives: what a caller puts by itself is only
// bounded in depth and length.
func unmetered() *meter { return newMeter(Limits{Entries: math.MaxInt32, Bytes: math.MaxInt64}) }

// path checks the real path of a node to be made.
func (m *meter) path(depth, length int) error {
	if depth > m.Depth {
		return fmt.Errorf("a path of more than %d parts", m.Depth)
	}
	if length > m.NameLen {
		return fmt.Errorf("a path longer than %d bytes", m.NameLen)
	}
	return nil
}

// entry charges one more node or header which keeps meta bytes in memory.
func (m *meter) entry(meta int) error {
	m.entries++
	m.meta += int64(meta)
	if m.entries > m.Entries {
		return fmt.Errorf("more than %d entries", m.Entries)
	}
	if m.meta > int64(m.Entries)*metaPerEntry+metaFloor {
		return fmt.Errorf("names, link targets and attributes take more than %d bytes", int64(m.Entries)*metaPerEntry+metaFloor)
	}
	return nil
}

// data charges size bytes of file data.
func (m *meter) data(size int64) error {
	if size < 0 {
		return fmt.Errorf("a negative size")
	}
	if size > m.Bytes-m.bytes {
		return fmt.Errorf("more than %d bytes of file data", m.Bytes)
	}
	m.bytes += size
	return nil
}

// clean turns the name of an archive entry or a path of a caller into the form
// "/a/b". Absolute names and "./" are rooted; what a tree cannot hold is refused.
func clean(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("a NUL byte in the name")
	}
	var b strings.Builder
	b.Grow(len(name) + 1)
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", fmt.Errorf(`a ".." part in the name`)
		case len(part) > maxName:
			return "", fmt.Errorf("a part of %d bytes in the name, %d is the most", len(part), maxName)
		}
		b.WriteByte('/')
		b.WriteString(part)
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}
