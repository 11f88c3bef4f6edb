package seed

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// timeGrain is how far apart two changes may be and still get the same time:
// two seconds on FAT, a few milliseconds elsewhere.
const timeGrain = 2 * time.Second

// ChangeStatus is how an entry differs from the manifest.
type ChangeStatus string

// The statuses of a change.
const (
	Added       ChangeStatus = "added"
	Modified    ChangeStatus = "modified" // content, mode or link target
	TypeChanged ChangeStatus = "type_changed"
	Linked      ChangeStatus = "linked" // unchanged, but it shares its inode with a change
)

// Change is one entry that is to be sent.
type Change struct {
	Path   string // relative to the root
	Status ChangeStatus

	node *tree.Node
}

// Changes is what to send so that a place that holds what the manifest says
// holds what the new tree does, but for deletions: a push adds and overwrites.
type Changes struct {
	Entries []Change // sorted; folders before what is in them
	Bytes   int64    // of file data, hard links counted once
	// Deleted are names of the manifest that the new tree has no more. They are
	// told, not sent.
	Deleted []string

	t *tree.Tree
}

// Delta compares what t holds below root with a manifest of an older tree.
//
// A file of the same type, mode and size is taken as unchanged when its time is
// the same too and lies before the manifest was made; otherwise its content
// decides. A time alone is no change, as it is none for git. Whether two names
// are hard links of each other is none either.
//
// It tells what changed on this side since the manifest was made. If the other
// side may have changed as well, and a push is to overwrite that, make the
// manifest from what the other side holds now.
func Delta(ctx context.Context, old *Manifest, t *tree.Tree, root string) (*Changes, error) {
	names, err := namesBelow(t, root)
	if err != nil {
		return nil, err
	}
	sums := map[*tree.Node][sha256.Size]byte{}
	for p, n := range names {
		if s, ok := old.Entries[p]; ok && same(s, n) && old.doubts(s, n) {
			sums[n] = [sha256.Size]byte{}
		}
	}
	if err := hash(ctx, t, sums); err != nil {
		return nil, err
	}
	status := map[string]ChangeStatus{}
	changed := map[*tree.Node]bool{}
	for p, n := range names {
		if s := old.status(p, n, sums); s != "" {
			status[p] = s
			changed[n] = true
		}
	}
	c := &Changes{t: t}
	c.collect(names, status, changed)
	for _, p := range sortedPaths(old.Entries) {
		if names[p] == nil {
			c.Deleted = append(c.Deleted, p)
		}
	}
	return c, nil
}

// same compares all but times and content.
func same(s Stamp, n *tree.Node) bool {
	return s.Type == n.Type && s.Mode == n.Mode && s.Size == n.Size && s.Target == n.Target
}

// doubts says whether only the content can tell if n is still what s was.
func (m *Manifest) doubts(s Stamp, n *tree.Node) bool {
	if n.Type != tree.Regular || n.Size == 0 {
		return false
	}
	return !n.ModTime.Equal(s.ModTime) || n.ModTime.After(m.Made.Add(-timeGrain))
}

func (m *Manifest) status(p string, n *tree.Node, sums map[*tree.Node][sha256.Size]byte) ChangeStatus {
	s, ok := m.Entries[p]
	switch {
	case !ok:
		return Added
	case s.Type != n.Type:
		return TypeChanged
	case !same(s, n):
		return Modified
	case m.doubts(s, n) && sums[n] != s.Sum:
		return Modified
	}
	return ""
}

// collect lists the changes. The other names of a changed hard link go along, or
// the link would be torn.
func (c *Changes) collect(names map[string]*tree.Node, status map[string]ChangeStatus, changed map[*tree.Node]bool) {
	counted := map[*tree.Node]bool{}
	for _, p := range sortedPaths(names) {
		n := names[p]
		s := status[p]
		if s == "" && changed[n] && n.Type != tree.Dir {
			s = Linked
		}
		if s == "" {
			continue
		}
		c.Entries = append(c.Entries, Change{p, s, n})
		if !counted[n] {
			counted[n] = true
			c.Bytes += n.Size
		}
	}
}

// WriteTar writes the changes as a tar. Names begin with "./" and are relative
// to the root that was compared. Folders that did not change have no entry, even
// where something in them did. An entry of another type than what stands in its
// place replaces it.
func (c *Changes) WriteTar(ctx context.Context, w io.Writer) error {
	bw := bufio.NewWriterSize(w, 1<<20)
	tw := tar.NewWriter(bw)
	first := map[*tree.Node]string{}
	buf := make([]byte, 256<<10)
	for _, e := range c.Entries {
		err := ctx.Err()
		if err == nil {
			err = c.writeEntry(tw, e, first, buf)
		}
		if err != nil {
			return writeError(ctx, e.Path, err)
		}
	}
	err := tw.Close()
	if err == nil {
		err = bw.Flush()
	}
	if err != nil {
		return writeError(ctx, "end mark", err)
	}
	return nil
}

func (c *Changes) writeEntry(tw *tar.Writer, e Change, first map[*tree.Node]string, buf []byte) error {
	h := tree.Header("/"+e.Path, e.node, time.Time{})
	if other, ok := first[e.node]; ok {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, other, 0
		return tw.WriteHeader(h)
	}
	if e.node.Type != tree.Dir {
		first[e.node] = h.Name
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if e.node.Type == tree.Regular {
		if _, err := io.CopyBuffer(tw, c.t.Open(e.node), buf); err != nil {
			return err
		}
	}
	return nil
}

func writeError(ctx context.Context, what string, err error) error {
	err = fmt.Errorf("writing %q: %w", what, err)
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "the changes were not all sent: %w", err)
	}
	return api.Errorf(api.KindStorage, "the changes cannot be written: %w", err)
}
