package oci

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pyro/api"
)

// maxIndexed is how many entries of an archive are looked at to tell what it
// is: an image archive has a few per layer, a root file system thousands.
const maxIndexed = 20_000

// Archive is an image, or a plain root file system, in one tar file.
type Archive struct {
	// Form is "oci-layout", "docker-save" or "rootfs". In the last case the
	// image has one layer, an empty config and no digest.
	Form  string
	Image *Image

	file *os.File
}

// Close frees the archive; its Image cannot be read afterwards.
func (a *Archive) Close() error { return a.file.Close() }

// OpenArchive opens a tar file (plain, gzip, zstd or xz), tells by its content
// what it is and reads the image's documents. A compressed archive is unpacked
// into an unlinked file in spoolDir first, because an image is not read in the
// order in which it is stored.
func OpenArchive(ctx context.Context, name, spoolDir string, want Platform) (*Archive, error) {
	f, err := openPlainTar(ctx, name, spoolDir)
	if err != nil {
		return nil, err
	}
	a := &Archive{file: f}
	if err := a.open(name, want); err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

func (a *Archive) open(name string, want Platform) error {
	display := filepath.Base(name)
	src, complete, err := indexTar(a.file, display)
	if err != nil {
		return err
	}
	switch {
	case complete && src.has("oci-layout") && src.has("index.json"):
		a.Form = "oci-layout"
		a.Image, err = layoutImage(display, src, want)
	case complete && src.has("manifest.json"):
		a.Form = "docker-save"
		a.Image, err = src.dockerImage(display, want)
	default:
		a.Form = "rootfs"
		a.Image, err = src.rootImage(display)
	}
	return err
}

// openPlainTar opens name and, if it is compressed, unpacks it into a file
// without a name.
func openPlainTar(ctx context.Context, name, spoolDir string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fileError(name, err)
	}
	c := sniff(bufio.NewReader(f))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, fileError(name, err)
	}
	if c == uncompressed {
		return f, nil
	}
	defer f.Close()
	return spool(ctx, name, f, c, spoolDir)
}

func spool(ctx context.Context, name string, r io.Reader, c compression, dir string) (*os.File, error) {
	plain, err := decompress(r, c)
	if err != nil {
		return nil, damaged(ctx, filepath.Base(name), err)
	}
	defer plain.Close()
	out, err := os.CreateTemp(dir, "spool-")
	if err != nil {
		return nil, err
	}
	os.Remove(out.Name())
	src := readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return plain.Read(p)
	})
	n, err := io.Copy(out, io.LimitReader(src, maxImageBytes+1))
	switch {
	case errors.As(err, new(*fs.PathError)): // the disk, not the archive
	case err != nil:
		err = damaged(ctx, filepath.Base(name), err)
	case n > maxImageBytes:
		err = unsafef("%s unpacks to more than %d bytes", filepath.Base(name), int64(maxImageBytes))
	default:
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// fileError names the file that was asked for.
func fileError(name string, err error) *api.Error {
	kind := api.KindStorage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = api.KindNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = api.KindPermission
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return &api.Error{Kind: kind, Message: fmt.Sprintf("%s: %v", name, err), Err: err}
}
