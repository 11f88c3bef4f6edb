package file

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
	"pyro/internal/agent/wire"
)

// Stat tells what a path leads to.
func (r Root) Stat(p wire.FileParams) (wire.FileStatResult, error) {
	var res wire.FileStatResult
	err := r.find(p.Path, func(at place) error {
		res.Exists, res.File = at.exists, about(strings.Join(at.names, "/"), at.st)
		return nil
	})
	return res, err
}

// about is what a path's status says.
func about(path string, st unix.Stat_t) wire.File {
	return wire.File{
		Path: []byte(path), Type: typeOf(st), Size: sizeOf(st), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		MTime: st.Mtim.Nano() / 1e6,
	}
}

func typeOf(st unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return wire.FileDirectory
	case unix.S_IFLNK:
		return wire.FileSymlink
	case unix.S_IFIFO:
		return wire.FileFifo
	case unix.S_IFSOCK:
		return wire.FileSocket
	case unix.S_IFCHR:
		return wire.FileCharDevice
	case unix.S_IFBLK:
		return wire.FileBlockDevice
	}
	return wire.FileRegular
}

// sizeOf is 0 for what has no content of its own, and no size that means anything.
func sizeOf(st unix.Stat_t) int64 {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK:
		return st.Size
	}
	return 0
}

// Read returns a piece of a regular file.
func (r Root) Read(p wire.FileReadParams) (wire.FileReadResult, error) {
	if p.Offset < 0 || p.StartLine < 0 || p.MaxLines < 0 || p.Max < 0 {
		return wire.FileReadResult{}, &wire.Error{Kind: wire.KindUsage, Message: "an offset or a size is negative"}
	}
	var res wire.FileReadResult
	err := r.find(p.Path, func(at place) (err error) {
		name := path.Join(r.Path, strings.Join(at.names, "/"))
		if !at.exists {
			return notFound(name)
		}
		f, err := openFile(at, name)
		if err != nil {
			return err
		}
		defer f.Close()
		res, err = readFile(f, p)
		res.File = about(strings.Join(at.names, "/"), at.st)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		return nil
	})
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return wire.FileReadResult{}, e
	}
	if err != nil {
		return wire.FileReadResult{}, &wire.Error{Kind: wire.KindConflict, Message: err.Error()}
	}
	return res, nil
}

func openFile(at place, name string) (*os.File, error) {
	if at.name == "" {
		return nil, &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("%q is a folder, not a file", name)}
	}
	f, err := beneath.OpenFile(at.at, at.name)
	switch err {
	case nil:
		return f, nil
	case unix.EINVAL:
		return nil, &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("%q is %s, not a file", name, beneath.TypeName(at.st))}
	case unix.EISDIR:
		return nil, &wire.Error{Kind: wire.KindConflict, Message: fmt.Sprintf("%q is a folder, not a file", name)}
	}
	return nil, fault(name, err)
}

func readFile(f *os.File, p wire.FileReadParams) (wire.FileReadResult, error) {
	res := wire.FileReadResult{Offset: p.Offset}
	if p.StartLine > 0 {
		var err error
		if res.Offset, err = lineStart(f, p.StartLine); err != nil {
			return res, err
		}
	}
	most := wire.MaxData
	if p.Max > 0 {
		most = min(p.Max, most)
	}
	data := make([]byte, most+1) // one more tells whether that is the end
	n, err := f.ReadAt(data, res.Offset)
	if err != nil && err != io.EOF {
		return res, err
	}
	res.Data, res.End = data[:min(n, most)], n <= most
	if p.MaxLines > 0 {
		cutLines(&res, p.MaxLines)
	}
	return res, nil
}

// lineStart returns the offset of a line, that of the end if there are fewer.
func lineStart(f *os.File, line int64) (int64, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, wire.MaxScan), 64<<10)
	var at int64
	for line > 1 {
		piece, err := in.ReadSlice('\n')
		at += int64(len(piece))
		switch err {
		case nil:
			line--
		case bufio.ErrBufferFull:
		case io.EOF:
			if at >= wire.MaxScan {
				return 0, fmt.Errorf("line %d is not in its first %d bytes", line, wire.MaxScan)
			}
			return at, nil
		default:
			return 0, err
		}
	}
	return at, nil
}

// cutLines ends the data behind so many lines.
func cutLines(res *wire.FileReadResult, most int64) {
	for at := 0; at < len(res.Data); {
		n := bytes.IndexByte(res.Data[at:], '\n')
		if n < 0 {
			return
		}
		at += n + 1
		if res.Lines++; res.Lines == most {
			res.End = res.End && at == len(res.Data)
			res.Data = res.Data[:at]
			return
		}
	}
}
