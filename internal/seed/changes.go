package seed

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// ChangeStatus is how an entry differs from what the guest holds.
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
	Path   string // relative to the destination
	Status ChangeStatus

	node *inode
}

// Changes is what to send so that the guest holds what the source does. Nothing
// in it deletes: a push adds and overwrites.
type Changes struct {
	Entries []Change // sorted; folders before what is in them
	Bytes   int64    // of file data, hard links counted once
}

// changes lists the names that differ. The other names of a changed hard link go
// along, or the link would be torn.
func (st *stage) changes() *Changes {
	changed := map[*inode]bool{}
	for _, s := range st.names {
		if s.status != "" && s.node.typ != tree.Dir {
			changed[s.node] = true
		}
	}
	c := &Changes{}
	for _, s := range st.names {
		if s.status == "" && changed[s.node] {
			s.status = Linked
		}
		if s.status != "" {
			c.Entries = append(c.Entries, Change{s.path, s.status, s.node})
		}
	}
	for in := range changed {
		c.Bytes += in.size
	}
	slices.SortFunc(c.Entries, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c
}

// WriteTar writes the changes as a tar. Names begin with "./" and are relative
// to the destination. Folders that did not change have no entry, even where
// something in them did. An entry of another type than what stands in its place
// replaces it. The plan must still be open.
func (c *Changes) WriteTar(ctx context.Context, w io.Writer) error {
	bw := bufio.NewWriterSize(w, 1<<20)
	tw := tar.NewWriter(bw)
	first := map[*inode]string{}
	buf := make([]byte, 256<<10)
	for _, e := range c.Entries {
		err := ctx.Err()
		if err == nil {
			err = e.write(tw, first, buf)
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

func (e Change) write(tw *tar.Writer, first map[*inode]string, buf []byte) error {
	h := tree.Header("/"+e.Path, e.node.treeNode(), time.Time{})
	if other, ok := first[e.node]; ok {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, other, 0
		return tw.WriteHeader(h)
	}
	if e.node.typ != tree.Dir {
		first[e.node] = h.Name
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if e.node.size == 0 {
		return nil
	}
	_, err := io.CopyBuffer(tw, io.NewSectionReader(e.node.src, e.node.off, e.node.size), buf)
	return err
}

func writeError(ctx context.Context, what string, err error) error {
	err = fmt.Errorf("writing %q: %w", what, err)
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "the changes were not all sent: %w", err)
	}
	return api.Errorf(api.KindStorage, "the changes cannot be written: %w", err)
}
