package oci

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path"
	"strings"
)

// tarSource finds the files of an uncompressed tar archive by name.
type tarSource struct {
	file  *os.File
	name  string
	files map[string]span
	links map[string]string // docker-save archives repeat a layer as a link
}

type span struct{ off, size int64 }

// indexTar notes where each regular file lies. complete is false when there
// were too many to note.
func indexTar(f *os.File, name string) (src *tarSource, complete bool, err error) {
	src = &tarSource{file: f, name: name, files: map[string]span{}, links: map[string]string{}}
	// The tar reader reads headers exactly and skips data by seeking, so after
	// Next the file stands at the first byte of the data.
	tr := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			if n == 0 {
				return nil, false, unsafef("%s holds nothing", name)
			}
			return src, true, nil
		}
		if err != nil {
			return nil, false, mismatchf("%s is not a tar archive or is damaged: %w", name, err)
		}
		if n == maxIndexed {
			return src, false, nil
		}
		key := cleanName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, false, err
			}
			src.files[key] = span{at, h.Size}
		case tar.TypeSymlink:
			src.links[key] = cleanName(path.Join(path.Dir(key), h.Linkname))
		case tar.TypeLink:
			src.links[key] = cleanName(h.Linkname)
		}
	}
}

// cleanName makes "./a", "/a" and "../a" all mean "a": names here are keys, not paths.
func cleanName(s string) string { return strings.TrimPrefix(path.Join("/", s), "/") }

func (s *tarSource) has(name string) bool {
	_, ok := s.find(name)
	return ok
}

func (s *tarSource) find(name string) (span, bool) {
	key := cleanName(name)
	for range 4 {
		if at, ok := s.files[key]; ok {
			return at, true
		}
		next, ok := s.links[key]
		if !ok {
			break
		}
		key = next
	}
	return span{}, false
}

func (s *tarSource) section(name string) (*io.SectionReader, error) {
	at, ok := s.find(name)
	if !ok {
		return nil, mismatchf("%s: it lacks %s", s.name, printable(name))
	}
	return io.NewSectionReader(s.file, at.off, at.size), nil
}

// document reads a small file.
func (s *tarSource) document(name string) ([]byte, error) {
	r, err := s.section(name)
	if err != nil {
		return nil, err
	}
	if r.Size() > maxDocument {
		return nil, unsafef("%s: %s is larger than %d bytes", s.name, printable(name), maxDocument)
	}
	return io.ReadAll(r)
}

func (s *tarSource) fetch(_ context.Context, img *Image, progress func(done, total int64)) error {
	progress(img.Size(), img.Size())
	return nil
}

// open finds a layer: by digest in a layout, by position in a root archive, and
// by the file name that dockerImage kept in MediaType otherwise.
func (s *tarSource) open(l Layer) (io.ReadCloser, error) {
	r, err := s.section(layerFile(l))
	if err != nil {
		return nil, err
	}
	return io.NopCloser(r), nil
}

func layerFile(l Layer) string {
	if name, ok := strings.CutPrefix(l.MediaType, fileMediaType); ok {
		return name
	}
	return blobFile(l.Digest)
}

// fileMediaType starts the private media type of a layer that has a name in an
// archive instead of a digest.
const fileMediaType = "file:"

// rootImage presents the whole archive as the only layer.
func (s *tarSource) rootImage(name string) (*Image, error) {
	size, err := s.file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	s.files = map[string]span{"": {0, size}}
	layer := Layer{Descriptor: Descriptor{MediaType: fileMediaType, Size: size}}
	return &Image{Name: name, Layers: []Layer{layer}, source: s}, nil
}
