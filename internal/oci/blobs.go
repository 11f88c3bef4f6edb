package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
)

// Blobs keeps downloaded content by digest. A blob that [Blobs.Open] returns was
// complete and verified when it was stored; disks being what they are, this
// package hashes it again before use.
type Blobs interface {
	// Open opens a stored blob for reading; fs.ErrNotExist when it is not there.
	Open(digest string) (*os.File, error)
	// Partial opens the unfinished download of a blob, creating it if needed. It
	// waits until no other goroutine or process holds it. The blob may have
	// arrived meanwhile: call Open again.
	Partial(ctx context.Context, digest string) (Partial, error)
	// Remove deletes a stored blob; one that is not there is no error.
	Remove(digest string) error
}

// Partial is a download in progress, held by one user at a time.
type Partial interface {
	// File is open for reading and writing, at offset 0.
	File() *os.File
	// Commit makes the content the blob, durably, and lets go of it.
	Commit() error
	// Close lets go and keeps what was written for the next attempt. After
	// Commit it does nothing.
	Close() error
}

// haveBlob reports whether the store holds the blob intact. A damaged one is removed.
func haveBlob(ctx context.Context, blobs Blobs, d Descriptor) (bool, error) {
	f, err := blobs.Open(d.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() == d.Size {
		sum, err := hashReader(ctx, f)
		if err != nil {
			return false, err
		}
		if sum == d.Digest {
			return true, nil
		}
	}
	return false, blobs.Remove(d.Digest)
}

// hashReader returns "sha256:HEX" of everything in r.
func hashReader(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
