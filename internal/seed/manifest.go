package seed

import (
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// Manifest remembers what a tree held at some time, to compare a later one with.
// It may be stored with encoding/gob, which keeps names of any bytes; JSON does not.
type Manifest struct {
	// Made is when the content was read. Files that were changed so shortly
	// before that a later change can have the same time are compared by content.
	Made time.Time
	// Entries has every name, relative to the root of the manifest.
	Entries map[string]Stamp
}

// Stamp is what a manifest keeps of an entry.
type Stamp struct {
	Type    tree.Type
	Mode    uint32
	Size    int64
	ModTime time.Time
	Target  string            // of a symlink
	Sum     [sha256.Size]byte // of a regular file's bytes
}

// NewManifest describes what t holds below root, which was read at made. A root
// that is absent is an error of KindNotFound.
func NewManifest(ctx context.Context, t *tree.Tree, root string, made time.Time) (*Manifest, error) {
	names, err := namesBelow(t, root)
	if err != nil {
		return nil, err
	}
	nodes := map[*tree.Node][sha256.Size]byte{}
	for _, n := range names {
		if n.Type == tree.Regular {
			nodes[n] = [sha256.Size]byte{}
		}
	}
	if err := hash(ctx, t, nodes); err != nil {
		return nil, err
	}
	m := &Manifest{Made: made, Entries: make(map[string]Stamp, len(names))}
	for p, n := range names {
		m.Entries[p] = Stamp{n.Type, n.Mode, n.Size, n.ModTime, n.Target, nodes[n]}
	}
	return m, nil
}

// namesBelow lists all names of t below root, relative to it.
func namesBelow(t *tree.Tree, root string) (map[string]*tree.Node, error) {
	top, err := t.Lookup(root)
	if err != nil {
		return nil, err
	}
	if top.Type != tree.Dir {
		return nil, api.Errorf(api.KindConflict, "%s is a %s, not a folder", root, top.Type)
	}
	all := map[string]*tree.Node{}
	var add func(dir string, n *tree.Node)
	add = func(dir string, n *tree.Node) {
		for name, child := range n.Children() {
			all[dir+name] = child
			add(dir+name+"/", child)
		}
	}
	add("", top)
	return all, nil
}

// hash fills in the sums of nodes.
func hash(ctx context.Context, t *tree.Tree, nodes map[*tree.Node][sha256.Size]byte) error {
	work := slices.Collect(maps.Keys(nodes))
	var (
		mu    sync.Mutex // guards nodes, next and first
		next  int
		first error
		wg    sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for {
				mu.Lock()
				if next == len(work) || first != nil {
					mu.Unlock()
					return
				}
				n := work[next]
				next++
				mu.Unlock()
				sum, err := hashOne(ctx, t, n, buf)
				mu.Lock()
				nodes[n] = sum
				if err != nil && first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

func hashOne(ctx context.Context, t *tree.Tree, n *tree.Node, buf []byte) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	r := t.Open(n)
	for {
		if err := ctx.Err(); err != nil {
			return sum, api.Errorf(api.KindCanceled, "hashing was stopped: %w", err)
		}
		c, err := r.Read(buf)
		h.Write(buf[:c])
		if err == io.EOF {
			return [sha256.Size]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return sum, api.Errorf(api.KindStorage, "the data of a file cannot be read again: %w", err)
		}
	}
}

// sortedPaths returns the keys of m with folders before what is in them.
func sortedPaths[V any](m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), strings.Compare)
}
