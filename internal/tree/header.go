package tree

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"
)

// xattrRecord is the prefix of PAX records that hold extended attributes.
const xattrRecord = "SCHILY.xattr."

// nodeTypes maps the entry types that may stand in an archive.
var nodeTypes = map[byte]Type{
	tar.TypeReg:       Regular,
	tar.TypeGNUSparse: Regular,
	tar.TypeDir:       Dir,
	tar.TypeSymlink:   Symlink,
	tar.TypeChar:      CharDevice,
	tar.TypeBlock:     BlockDevice,
	tar.TypeFifo:      Fifo,
}

// tarTypes is the reverse of nodeTypes.
var tarTypes = [...]byte{
	Regular:     tar.TypeReg,
	Dir:         tar.TypeDir,
	Symlink:     tar.TypeSymlink,
	CharDevice:  tar.TypeChar,
	BlockDevice: tar.TypeBlock,
	Fifo:        tar.TypeFifo,
}

// nodeOf makes the node that a header describes.
func nodeOf(h *tar.Header) (*Node, error) {
	typ, ok := nodeTypes[h.Typeflag]
	if !ok {
		return nil, fmt.Errorf("entries of type %q are not allowed", h.Typeflag)
	}
	n := &Node{Type: typ, Mode: uint32(h.Mode & 0o7777), ModTime: h.ModTime, Target: h.Linkname}
	for _, f := range []struct {
		what string
		v    int64
		max  int64
		to   *uint32
	}{
		{"user id", int64(h.Uid), maxID, &n.UID},
		{"group id", int64(h.Gid), maxID, &n.GID},
		{"device major number", h.Devmajor, maxMajor, &n.Major},
		{"device minor number", h.Devminor, maxMinor, &n.Minor},
	} {
		if f.v < 0 || f.v > f.max {
			return nil, fmt.Errorf("%s %d, 0 to %d are possible", f.what, f.v, f.max)
		}
		*f.to = uint32(f.v)
	}
	for k, v := range h.PAXRecords {
		if x, ok := strings.CutPrefix(k, xattrRecord); ok {
			if n.Xattrs == nil {
				n.Xattrs = map[string]string{}
			}
			n.Xattrs[x] = v
		}
	}
	return n, nil
}

// Header makes the tar header of the node n at the absolute path, the way
// [Tree.WriteTar] does: the name begins with "./", times later than clamp become
// clamp unless that is the zero time, what ustar cannot hold becomes PAX records.
func Header(path string, n *Node, clamp time.Time) *tar.Header {
	h := &tar.Header{
		Name:     "." + path,
		Typeflag: tarTypes[n.Type],
		Mode:     int64(n.Mode & 0o7777),
		Uid:      int(n.UID),
		Gid:      int(n.GID),
		ModTime:  n.Time(clamp),
		Linkname: n.Target,
		Devmajor: int64(n.Major),
		Devminor: int64(n.Minor),
		Size:     n.Size,
	}
	if n.Type == Dir && path != "/" {
		h.Name += "/"
	}
	for k, v := range n.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+k] = v
	}
	if h.ModTime.Nanosecond() != 0 {
		h.Format = tar.FormatPAX // others round to seconds
	}
	return h
}
