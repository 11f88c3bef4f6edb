package tree

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"pyro/api"
)

// WriteTar writes the tree as a tar, sorted, the same bytes for the same tree
// however it was made. Names begin with "./", the root's entry is "./" and every
// folder has an entry, as gVisor's reader of upper layers requires. Times later
// than clamp become clamp, unless that is the zero time. Hard links are kept.
// Extended attributes are PAX records SCHILY.xattr.*.
func (t *Tree) WriteTar(w io.Writer, clamp time.Time) error {
	bw := bufio.NewWriterSize(w, 1<<20)
	tw := tar.NewWriter(bw)
	seen := map[*Node]string{}
	buf := make([]byte, 256<<10)
	err := t.Walk(func(path string, n *Node) error {
		h := Header(path, n, clamp)
		if n.Type != Dir {
			if first, ok := seen[n]; ok {
				h = &tar.Header{Name: h.Name, Typeflag: tar.TypeLink, Linkname: first, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime, Format: h.Format}
				return tw.WriteHeader(h)
			}
			seen[n] = h.Name
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if n.Type != Regular {
			return nil
		}
		if _, err := io.CopyBuffer(tw, t.Open(n), buf); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err == nil {
		err = tw.Close()
	}
	if err == nil {
		err = bw.Flush()
	}
	if _, ok := errors.AsType[*api.Error](err); err == nil || ok {
		return err
	}
	return api.Errorf(api.KindStorage, "the tar cannot be written: %w", err)
}
