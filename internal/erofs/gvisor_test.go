package erofs

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gerofs "gvisor.dev/gvisor/pkg/erofs"

	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// TestGVisorReads reads our images with the reader that sandboxes use.
func TestGVisorReads(t *testing.T) {
	eachTree(t, func(t *testing.T, tr *tree.Tree) {
		f, err := os.Open(imageFile(t, tr))
		if err != nil {
			t.Fatal(err)
		}
		im, err := gerofs.OpenImage(f)
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		g := &gvisorWalk{t: t, im: im, links: linkCounts(tr), all: map[string]treetest.Entry{}, first: map[uint64]string{}}
		g.inode("/", im.RootNid())
		if d := cmp.Diff(treetest.Entries(t, tr), g.all); d != "" {
			t.Error("gVisor sees something else:\n", d)
		}
	})
}

type gvisorWalk struct {
	t     *testing.T
	im    *gerofs.Image
	links map[string]uint64 // wanted
	all   map[string]treetest.Entry
	first map[uint64]string
}

func (g *gvisorWalk) inode(path string, nid uint64) {
	i, err := g.im.Inode(nid)
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
	typ, ok := typeOf(i.Mode())
	if !ok {
		g.t.Fatalf("%s has mode %#o", path, i.Mode())
	}
	if uint64(i.Nlink()) != g.links[path] {
		g.t.Errorf("%q has %d links, want %d", path, i.Nlink(), g.links[path])
	}
	e := treetest.Entry{
		Type: typ.String(), Mode: uint32(i.Mode() & modePerm), UID: i.UID(), GID: i.GID(),
		Seconds: int64(i.Mtime()), Nanos: int(i.MtimeNsec()), LinkOf: g.first[nid],
	}
	if g.first[nid] == "" {
		g.first[nid] = path
	}
	switch typ {
	case tree.Regular:
		if _, err := i.DataOffset(); err != nil { // what it maps
			g.t.Fatalf("%s: %v", path, err)
		}
		ranges, err := i.DataRanges()
		if err != nil {
			g.t.Fatalf("%s: %v", path, err)
		}
		e.Data = string(bytes.Join([][]byte{ranges[0].Bytes, ranges[1].Bytes}, nil))
	case tree.Symlink:
		if e.Target, err = i.Readlink(); err != nil {
			g.t.Fatalf("%s: %v", path, err)
		}
	case tree.CharDevice, tree.BlockDevice: // its reader does not tell device numbers
		e.Major, e.Minor = decodeDevice(g.device(nid))
	case tree.Dir:
		g.folder(path, i)
	}
	g.all[path] = e
}

// device reads the word of the inode that holds a device number.
func (g *gvisorWalk) device(nid uint64) uint32 {
	sb := g.im.SuperBlock()
	b, err := g.im.BytesAt(sb.NidToOffset(nid)+16, 4)
	if err != nil {
		g.t.Fatal(err)
	}
	return le.Uint32(b)
}

func (g *gvisorWalk) folder(path string, dir gerofs.Inode) {
	err := dir.IterDirents(func(name string, _ uint8, nid uint64) error {
		if found, err := dir.Lookup(name); err != nil || found != nid {
			g.t.Errorf("%s: looking for %q gives inode %d (%v), the list has %d", path, name, found, err, nid)
		}
		if name != "." && name != ".." {
			g.inode(strings.TrimSuffix(path, "/")+"/"+name, nid)
		}
		return nil
	})
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
}
