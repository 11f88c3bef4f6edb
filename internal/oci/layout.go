package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pyro/api"
)

// An OCI layout, as the image layout specification 1.1 draws it:
//
//	oci-layout              {"imageLayoutVersion": "1.0.0"}
//	index.json              the index, entry point of everything
//	blobs/sha256/<hex>      manifests, configs and layers

// layoutFiles is a layout in a folder or in an archive.
type layoutFiles interface {
	source
	// document reads a small file by its name in the layout.
	document(name string) ([]byte, error)
}

func blobFile(digest string) string {
	return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
}

// OpenLayout opens an OCI layout in a folder. Links that lead out of the folder
// are not followed. Close the returned closer when the image has been read.
func OpenLayout(dir string, want Platform) (*Image, io.Closer, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fileError(dir, err)
	}
	img, err := layoutImage(filepath.Base(dir), &folderSource{root: root, name: dir}, want)
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return img, root, nil
}

// IsLayout reports whether a folder is an OCI layout.
func IsLayout(dir string) bool {
	for _, name := range []string{"oci-layout", "index.json"} {
		if st, err := os.Lstat(filepath.Join(dir, name)); err != nil || !st.Mode().IsRegular() {
			return false
		}
	}
	return true
}

func layoutImage(name string, files layoutFiles, want Platform) (*Image, error) {
	data, err := files.document("index.json")
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(name, "", data)
	if err != nil {
		return nil, err
	}
	if doc.manifest != nil {
		return nil, unsafef("%s: index.json is not an index", name)
	}
	first, err := chooseOnly(name, doc.index, want)
	if err != nil {
		return nil, err
	}
	read := func(d Descriptor) ([]byte, error) {
		data, err := files.document(blobFile(d.Digest))
		if err != nil {
			return nil, err
		}
		return readVerified(name, bytes.NewReader(data), d)
	}
	if data, err = read(first); err != nil {
		return nil, err
	}
	return resolveDocument(name, first.Digest, first.MediaType, data, want, files, read, read)
}

// chooseOnly picks from a layout's top index, whose entries are images by name
// as much as by platform and often name no platform. There must be no doubt.
func chooseOnly(name string, entries []indexEntry, want Platform) (Descriptor, error) {
	fits := slices.DeleteFunc(slices.Clone(entries), func(e indexEntry) bool {
		p := e.platform
		return p != nil && (p.OS != want.OS || p.Architecture != want.Architecture)
	})
	fits = slices.CompactFunc(fits, func(a, b indexEntry) bool { return a.Digest == b.Digest })
	switch len(fits) {
	case 0:
		return choose(name, entries, want)
	case 1:
		return fits[0].Descriptor, nil
	}
	return Descriptor{}, api.Errorf(api.KindUsage, "%s holds %d images for %s, one is needed", name, len(fits), want).
		WithHint("copy the one you want into a layout of its own")
}

// folderSource is a layout in a folder.
type folderSource struct {
	root *os.Root
	name string
}

func (s *folderSource) document(name string) ([]byte, error) {
	f, err := s.regular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fileError(filepath.Join(s.name, name), err)
	}
	if len(data) > maxDocument {
		return nil, unsafef("%s: %s is larger than %d bytes", s.name, name, maxDocument)
	}
	return data, nil
}

// regular opens a file without waiting on a pipe that stands in its place.
func (s *folderSource) regular(name string) (*os.File, error) {
	st, err := s.root.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = s.root.Open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mismatchf("%s: it lacks %s", s.name, name)
	}
	if err != nil {
		return nil, fileError(filepath.Join(s.name, name), err)
	}
	return f, nil
}

func (s *folderSource) fetch(_ context.Context, img *Image, progress func(done, total int64)) error {
	progress(img.Size(), img.Size())
	return nil
}

func (s *folderSource) open(l Layer) (io.ReadCloser, error) { return s.regular(blobFile(l.Digest)) }

// layoutVersion is the content of the file oci-layout.
var layoutVersion = mustJSON(map[string]string{"imageLayoutVersion": "1.0.0"})

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
