package seed

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

const (
	maxName      = 255  // bytes of one name, Linux's NAME_MAX
	maxTarget    = 4095 // bytes of a symlink target, Linux's PATH_MAX without the NUL
	metaPerEntry = 256  // bytes of whole paths and targets that an entry may take on average
	metaFloor    = 1 << 20
)

// inode is a file, folder or symlink that was read. Hard-linked names share one.
type inode struct {
	typ    tree.Type
	mode   uint32
	mtime  time.Time
	target string
	src    io.ReaderAt
	off    int64
	size   int64
	// implied: a folder without an entry of its own, whose metadata are made up.
	implied bool
	failed  error // why a file's data could not be read: its names are left out
	sum     *Sum  // of the bytes, once it was needed
}

// treeNode returns what a tree keeps of it, without its data.
func (in *inode) treeNode() *tree.Node {
	return &tree.Node{Type: in.typ, Mode: in.mode, ModTime: in.mtime, Target: in.target, Size: in.size}
}

// staged is one name that was read, relative to the source: "a/b".
type staged struct {
	path   string
	node   *inode
	status ChangeStatus // against what the guest holds, if that was asked for
}

// stage gathers what a source holds until all of it is known to be in order.
type stage struct {
	t        *tree.Tree // what stands at the destination
	spool    *tree.Tree // takes the data of files
	guest    *guest     // what the names are compared with; nil when all are taken
	sums     *Sums      // to be told of the files that were read; may be nil
	dest     string     // in the guest; clean, absolute
	base     string     // the same place in t
	limits   tree.Limits
	mtime    time.Time // of the source's own folder
	names    []staged
	warnings []Warning
	read     []reading // of a folder's files, if sums want them
	met      []fileID  // files that a plan took for unchanged

	// What was used of the limits; several goroutines count.
	entries, meta, bytes atomic.Int64
}

func newStage(t, spool *tree.Tree, dest string, o Options) (*stage, error) {
	if !path.IsAbs(dest) || strings.IndexByte(dest, 0) >= 0 {
		return nil, api.Errorf(api.KindUsage, "the destination %q is not an absolute path", dest)
	}
	st := &stage{t: t, spool: spool, sums: o.Sums, dest: path.Clean(dest), limits: o.limits()}
	root := path.Clean("/" + o.Root)
	rest, ok := strings.CutPrefix(st.dest, strings.TrimSuffix(root, "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return nil, api.Errorf(api.KindUsage, "the destination %s is not below %s", st.dest, root).
			WithHint("give a destination below %s", root)
	}
	st.base = path.Clean("/" + rest)
	return st, st.checkDest(root)
}

// checkDest refuses a destination that t, which stands at root, has in another
// place than its name says.
func (st *stage) checkDest(root string) error {
	n, at := st.t.Root(), root
	for part := range strings.SplitSeq(strings.Trim(st.base, "/"), "/") {
		if n = n.Child(part); n == nil {
			return nil
		}
		at = path.Join(at, part)
		if n.Type != tree.Dir {
			return api.Errorf(api.KindUsage, "%s cannot be the destination: %s is a %s", st.dest, at, n.Type).
				WithHint("give a destination without symbolic links or files on the way")
		}
	}
	return nil
}

// chargeName counts one more name, before anything is kept of it.
func (st *stage) chargeName(path, target string) error {
	if st.entries.Add(1) > int64(st.limits.Entries) {
		return fmt.Errorf("it makes more than %d entries", st.limits.Entries)
	}
	// The tree counts whole paths, and so the destination's part of them.
	whole := len(path) + 1 + len(strings.TrimSuffix(st.base, "/"))
	if whole > st.limits.NameLen {
		return fmt.Errorf("a path longer than %d bytes", st.limits.NameLen)
	}
	if strings.Count(path, "/")+1+strings.Count(strings.TrimSuffix(st.base, "/"), "/") > st.limits.Depth {
		return fmt.Errorf("a path of more than %d parts", st.limits.Depth)
	}
	return st.chargeMeta(len(path) + len(target))
}

// chargeMeta counts bytes that are kept in memory for names and the like.
func (st *stage) chargeMeta(n int) error {
	most := int64(st.limits.Entries)*metaPerEntry + metaFloor
	if st.meta.Add(int64(n)) > most {
		return fmt.Errorf("names and link targets take more than %d bytes", most)
	}
	return nil
}

// chargeData counts file data before it is read.
func (st *stage) chargeData(size int64) error {
	if size < 0 || size > st.limits.Bytes || st.bytes.Add(size) > st.limits.Bytes {
		return fmt.Errorf("it makes more than %d bytes of file data", st.limits.Bytes)
	}
	return nil
}

// relative brings the name of an archive's entry into the form "a/b"; it is ""
// for the archive's root.
func relative(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("an empty name")
	case strings.IndexByte(name, 0) >= 0:
		return "", errors.New("a NUL byte in the name")
	case name[0] == '/':
		return "", errors.New("an absolute path")
	}
	parts := make([]string, 0, strings.Count(name, "/")+1)
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", errors.New(`".." in the name`)
		case len(part) > maxName:
			return "", fmt.Errorf("a part of %d bytes in the name, %d is the most", len(part), maxName)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/"), nil
}

// commit puts everything that was staged into the tree.
func (st *stage) commit() error {
	// A folder sorts before what is in it.
	slices.SortFunc(st.names, func(a, b staged) int { return strings.Compare(a.path, b.path) })
	if _, err := st.t.Lookup(st.base); err != nil {
		if err := st.t.Put(st.base, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: st.mtime}, nil); err != nil {
			return err
		}
	}
	first := map[*inode]string{}
	for _, s := range st.names {
		if err := st.put(path.Join(st.base, s.path), s.node, first); err != nil {
			return err
		}
	}
	return nil
}

// origins returns what was read of the host, with paths of t.
func (st *stage) origins() []reading {
	for i, r := range st.read {
		st.read[i].path = path.Join(st.base, r.path)
	}
	return st.read
}

func (st *stage) put(name string, in *inode, first map[*inode]string) error {
	if in.typ == tree.Dir {
		// A link to a folder must not stay, or what follows would go through it.
		old, err := st.t.Lookup(name)
		if err == nil && old.Type == tree.Dir && in.implied {
			return nil
		}
		if err == nil && old.Type != tree.Dir {
			if err := st.t.Remove(name); err != nil {
				return err
			}
		}
	} else if other, ok := first[in]; ok {
		return st.t.Link(other, name)
	} else {
		first[in] = name
	}
	n := in.treeNode()
	if in.typ == tree.Regular && in.size > 0 {
		return st.t.PutData(name, n, in.src, in.off)
	}
	return st.t.Put(name, n, nil)
}

func (st *stage) report(m Mode) Report {
	r := Report{Mode: m, Entries: len(st.names)}
	seen := map[*inode]bool{}
	for _, s := range st.names {
		if s.node.typ != tree.Regular {
			continue
		}
		r.Files++
		if !seen[s.node] {
			seen[s.node] = true
			r.Bytes += s.node.size
		}
	}
	r.Warnings, r.Dropped = sortWarnings(st.warnings)
	return r
}
