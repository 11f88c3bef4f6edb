package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"pyro/api"
)

// download fills one partial file. Everything before offset has passed through hash.
type download struct {
	source *registrySource
	desc   Descriptor
	file   *os.File
	offset int64
	hash   hash.Hash
	add    func(int64)
}

// run downloads until the file is complete and its digest right. A connection
// that breaks is resumed where it stopped. When the digest is wrong and part of
// the bytes came from an earlier attempt, it starts over once.
func (d *download) run(ctx context.Context) error {
	if err := d.adopt(ctx); err != nil {
		return err
	}
	for resumed := d.offset > 0; ; resumed = false {
		if err := d.fill(ctx); err != nil {
			return err
		}
		got := "sha256:" + hex.EncodeToString(d.hash.Sum(nil))
		if got == d.desc.Digest {
			return nil
		}
		if err := d.restart(); err != nil {
			return err
		}
		if !resumed {
			return mismatchf("%s: the registry sent other content for layer %s: its digest is %s", d.source.name, d.desc.Digest, got)
		}
	}
}

// adopt hashes what an earlier attempt left in the file.
func (d *download) adopt(ctx context.Context) error {
	d.hash = sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return d.source.wrap(ctx, ctx.Err())
		}
		n, err := d.file.Read(buf)
		d.hash.Write(buf[:n])
		d.offset += int64(n)
		if d.offset > d.desc.Size {
			return d.restart()
		}
		if err == io.EOF {
			d.add(d.offset)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// restart empties the file.
func (d *download) restart() error {
	d.add(-d.offset)
	d.offset = 0
	d.hash.Reset()
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// fill reads from the registry until the file has its declared size.
func (d *download) fill(ctx context.Context) error {
	for stalls := 0; d.offset < d.desc.Size; {
		before := d.offset
		err := d.connect(ctx)
		if err == nil {
			continue
		}
		if !isBroken(err) || ctx.Err() != nil {
			return err
		}
		if d.offset > before {
			stalls = 0
		} else if stalls++; stalls >= maxStalls {
			return err
		}
		select {
		case <-ctx.Done():
			return d.source.wrap(ctx, ctx.Err())
		case <-time.After(time.Duration(stalls) * 200 * time.Millisecond):
		}
	}
	return nil
}

// brokenError marks an error of the connection, after which resuming makes sense.
type brokenError struct{ error }

func (b brokenError) Unwrap() error { return b.error }

func isBroken(err error) bool {
	_, ok := errors.AsType[brokenError](err)
	return ok
}

// connect makes one request and copies what it brings.
func (d *download) connect(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stallTimeout, func() {
		cancel(fmt.Errorf("no data for %v", stallTimeout))
	})
	defer watch.Stop()

	rc, err := d.request(ctx, inner)
	if err != nil {
		return err
	}
	defer func() { rc.Close() }()
	if d.offset > 0 && !seekTo(rc, d.offset) {
		// No ranges here: take everything again. The stream at hand may be half
		// moved, so ask for a new one.
		if err := d.restart(); err != nil {
			return err
		}
		rc.Close()
		if rc, err = d.request(ctx, inner); err != nil {
			return err
		}
	}
	return d.copy(inner, rc, watch)
}

// request asks for the whole blob. Only ctx, the caller's, counts as canceled by
// somebody; inner is also ended by a stall.
func (d *download) request(ctx, inner context.Context) (io.ReadCloser, error) {
	rc, err := d.source.repo.Blobs().Fetch(inner, ocispec.Descriptor{Digest: digestOf(d.desc), Size: d.desc.Size})
	if err == nil {
		return rc, nil
	}
	_, answered := errors.AsType[*errcode.ErrorResponse](err)
	err = d.source.wrap(ctx, err)
	if api.KindOf(err) == api.KindNetwork && !answered {
		return nil, brokenError{err}
	}
	return nil, err
}

// seekTo moves a blob stream forward if its registry can do that.
func seekTo(rc io.ReadCloser, offset int64) bool {
	s, ok := rc.(io.Seeker)
	if !ok {
		return false
	}
	_, err := s.Seek(offset, io.SeekStart)
	return err == nil
}

// copy appends the stream to the file, up to the declared size.
func (d *download) copy(ctx context.Context, r io.Reader, watch *time.Timer) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		watch.Reset(stallTimeout)
		if int64(n) > d.desc.Size-d.offset {
			return mismatchf("%s: the registry sent more than the %d bytes that layer %s declares", d.source.name, d.desc.Size, d.desc.Digest)
		}
		if _, werr := d.file.Write(buf[:n]); werr != nil {
			return werr
		}
		d.hash.Write(buf[:n])
		d.offset += int64(n)
		d.add(int64(n))
		switch {
		case err == io.EOF && d.offset == d.desc.Size:
			return nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return brokenError{api.Errorf(api.KindNetwork, "%s: layer %s broke off after %d of %d bytes: %w",
				d.source.name, d.desc.Digest, d.offset, d.desc.Size, err).WithHint("pull again: the download resumes where it stopped")}
		}
	}
}
