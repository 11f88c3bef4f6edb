package feed

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"

	"pyro/api"
	"pyro/internal/agent/unpack"
)

// Edit is what becomes of one path.
type Edit struct {
	// Path is relative to the destination.
	Path string
	// Remove takes a file or link away; the rest says nothing then.
	Remove bool
	// Target makes a symbolic link; without it the edit makes a file.
	Target string
	// Data is what a file holds, all of it in memory.
	Data []byte
	// Mode (07777), UID and GID are those of a file.
	Mode     uint32
	UID, GID int
	// Expect is what must stand there before; "" for whatever. See
	// [unpack.RecordExpect], ExpectSum and ExpectLink.
	Expect string
}

// Edits are single changes. They implement Changes.
type Edits []Edit

// WriteTar writes the edits, which get the present time.
func (e Edits) WriteTar(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	now := time.Now()
	for _, edit := range e {
		if ctx.Err() != nil {
			return api.Errorf(api.KindCanceled, "the changes were not all sent: %w", context.Cause(ctx))
		}
		if err := edit.write(tw, now); err != nil {
			return api.Errorf(api.KindInternal, "%q cannot be sent: %w", edit.Path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return api.Errorf(api.KindInternal, "the changes cannot be sent: %w", err)
	}
	return nil
}

func (e Edit) write(tw *tar.Writer, now time.Time) error {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: "./" + e.Path, Size: int64(len(e.Data)), Mode: int64(e.Mode & 0o7777), Uid: e.UID, Gid: e.GID,
		ModTime: now.Truncate(time.Second), PAXRecords: map[string]string{}, Format: tar.FormatPAX,
	}
	switch {
	case e.Remove:
		h.Size, e.Data = 0, nil
		h.PAXRecords[unpack.RecordRemove] = "1"
	case e.Target != "":
		h.Typeflag, h.Linkname, h.Size, h.Mode, e.Data = tar.TypeSymlink, e.Target, 0, 0o777, nil
	}
	if e.Expect != "" {
		h.PAXRecords[unpack.RecordExpect] = e.Expect
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := tw.Write(e.Data)
	return err
}

// ExpectSum expects a file that holds b.
func ExpectSum(b []byte) string { return unpack.ExpectSum + Sum(b) }

// ExpectLink expects a link to target.
func ExpectLink(target string) string { return unpack.ExpectLink + Sum([]byte(target)) }

// Sum is the hash that both ends compare, in hexadecimal digits.
func Sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
