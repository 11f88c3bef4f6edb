package file

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
	"pyro/internal/agent/unpack"
	"pyro/internal/agent/wire"
)

// maxListBytes bounds what the entries of one answer take, well below a frame:
// paths and targets are sent as base64.
const maxListBytes = 256 << 10

// entryBytes is what an entry takes beside its path and target.
const entryBytes = 160

// List tells what a folder holds; of anything else it tells about that.
func (r Root) List(p wire.FileListParams) (wire.FileListResult, error) {
	l := &lister{recursive: p.Recursive, most: wire.MaxFiles, size: maxListBytes}
	if p.Max > 0 {
		l.most = min(p.Max, l.most)
	}
	if p.After != nil {
		l.after = strings.Split(string(p.After), "/")
	}
	err := r.find(p.Path, func(at place) error {
		name := strings.Join(at.names, "/")
		l.res.Path = []byte(name)
		switch {
		case !at.exists:
			return notFound(path.Join(r.Path, name))
		case at.name != "":
			l.entry(at.at, at.name, name, at.st)
			return nil
		}
		return l.folder(at.at, at.names, len(at.names))
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	return l.res, err
}

var errFull = errors.New("the answer is full")

type lister struct {
	recursive bool
	after     []string // parts of the last entry that the caller has
	most      int
	size      int // bytes that are left
	res       wire.FileListResult
}

// folder lists the open folder at, which is at parts; depth counts from the root.
func (l *lister) folder(at int, parts []string, depth int) error {
	if depth > maxParts {
		return &wire.Error{Kind: wire.KindUnsafe, Message: fmt.Sprintf("%.200q... is deeper than %d folders", strings.Join(parts, "/"), maxParts)}
	}
	fd, err := beneath.OpenFolder(at, ".") // its own position
	if err != nil {
		return fault(strings.Join(parts, "/"), err)
	}
	names, err := beneath.ReadNames(fd)
	unix.Close(fd)
	if err != nil {
		return fault(strings.Join(parts, "/"), err)
	}
	slices.Sort(names)
	for _, name := range names {
		if depth == 0 && unpack.IsStaging(name) {
			continue
		}
		if err := l.name(at, append(parts[:len(parts):len(parts)], name), depth); err != nil {
			return err
		}
	}
	return nil
}

// name lists one name of a folder and what is below it. What the guest has
// removed meanwhile is not there.
func (l *lister) name(at int, parts []string, depth int) error {
	name := parts[len(parts)-1]
	seen, below := l.passed(parts)
	if seen && !below {
		return nil
	}
	st, err := beneath.Lstat(at, name)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fault(strings.Join(parts, "/"), err)
	}
	if !seen && !l.entry(at, name, strings.Join(parts, "/"), st) {
		l.res.More = true
		return errFull
	}
	if !l.recursive || !beneath.IsFolder(st) {
		return nil
	}
	fd, err := beneath.OpenFolder(at, name)
	if err != nil {
		return nil // it is something else now
	}
	defer unix.Close(fd)
	return l.folder(fd, parts, depth+1)
}

// passed says whether the caller has the entry at parts, and whether entries
// below it may still be wanted.
func (l *lister) passed(parts []string) (seen, below bool) {
	if l.after == nil {
		return false, false
	}
	n := min(len(parts), len(l.after))
	switch c := slices.Compare(parts[:n], l.after[:n]); {
	case c != 0:
		return c < 0, false
	default:
		return len(parts) <= len(l.after), true
	}
}

// entry adds an entry, if there is room.
func (l *lister) entry(at int, name, path string, st unix.Stat_t) bool {
	f := about(path, st)
	if f.Type == wire.FileSymlink {
		target, err := beneath.ReadLink(at, name)
		if err == nil {
			f.Target = []byte(target)
		}
	}
	l.size -= entryBytes + (len(f.Path)+len(f.Target))*4/3
	if len(l.res.Files) == l.most || l.size < 0 && len(l.res.Files) > 0 {
		return false
	}
	l.res.Files = append(l.res.Files, f)
	return true
}
