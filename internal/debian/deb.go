package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Bounds of one .deb. Debian's largest control archive has 3 MB, its largest
// data archive 3 GB.
const (
	maxControl      = 32 << 20
	maxControlFiles = 64
	maxData         = 16 << 30
)

// deb is an opened binary package, deb(5): an ar archive of debian-binary,
// control.tar and data.tar.
type deb struct {
	control map[string]controlFile // by name: "control", "postinst", ...
	data    arMember
}

// controlFile is a file of control.tar.
type controlFile struct {
	mode uint32
	data []byte
}

// openDeb reads the outer parts of the package of size bytes in r.
func openDeb(r io.ReaderAt, size int64) (*deb, error) {
	members, err := readAr(r, size)
	if err != nil {
		return nil, err
	}
	// Members whose names begin with '_' are for others.
	rest := members[:0:0]
	for i, m := range members {
		if i == 0 || !strings.HasPrefix(m.name, "_") {
			rest = append(rest, m)
		}
	}
	if len(rest) != 3 {
		return nil, fmt.Errorf("it has %d members instead of debian-binary, control.tar and data.tar", len(rest))
	}
	if err := checkDebVersion(rest[0]); err != nil {
		return nil, err
	}
	control, err := rest[1].tar("control.tar", maxControl)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	d := &deb{data: rest[2]}
	if d.control, err = readControlTar(control); err != nil {
		return nil, fmt.Errorf("%s: %w", rest[1].name, err)
	}
	return d, nil
}

// checkDebVersion accepts every format of the major version 2, as dpkg does.
func checkDebVersion(m arMember) error {
	if m.name != "debian-binary" {
		return fmt.Errorf("it begins with %q instead of debian-binary", clip(m.name))
	}
	if m.data.Size() > 128 {
		return errors.New("its debian-binary is too long")
	}
	b, err := io.ReadAll(m.data)
	if err != nil {
		return err
	}
	line, _, ok := strings.Cut(string(b), "\n")
	if !ok || !strings.HasPrefix(line, "2.") {
		return fmt.Errorf("its format is %q, 2.0 is known", clip(line))
	}
	return nil
}

// tar returns the unpacked tar in m, whose name must be base with the suffix of
// a compression. It never gives more than limit bytes.
func (m arMember) tar(base string, limit int64) (io.ReadCloser, error) {
	suffix, ok := strings.CutPrefix(m.name, base)
	if !ok {
		return nil, fmt.Errorf("it has %q where %s must be", clip(m.name), base)
	}
	r, err := decompress(io.NewSectionReader(m.data, 0, m.data.Size()), suffix, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clip(m.name), err)
	}
	return r, nil
}

// openData returns the files of the package as a tar.
func (d *deb) openData() (io.ReadCloser, error) { return d.data.tar("data.tar", maxData) }

// readControlTar reads the flat folder of files that control.tar is.
func readControlTar(r io.Reader) (map[string]controlFile, error) {
	files := map[string]controlFile{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if name == "." && h.Typeflag == tar.TypeDir {
			continue
		}
		switch _, twice := files[name]; {
		case h.Typeflag != tar.TypeReg || !validPackageName(name):
			return nil, fmt.Errorf("its entry %q is no plain file at its top", clip(h.Name))
		case twice:
			return nil, fmt.Errorf("it has %s twice", name)
		case len(files) == maxControlFiles:
			return nil, fmt.Errorf("it has more than %d files", maxControlFiles)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		files[name] = controlFile{uint32(h.Mode & 0o777), data}
	}
	if _, ok := files["control"]; !ok {
		return nil, errors.New("it has no file control")
	}
	return files, nil
}

// checkControl reports whether the package is the one that the index promised.
func (d *deb) checkControl(want *Package) error {
	got, paragraphs := new(Package), 0
	err := scanControl(bytes.NewReader(d.control["control"].data), got.set, func() error { paragraphs++; return nil })
	switch {
	case err != nil:
		return fmt.Errorf("its control file is malformed: %w", err)
	case paragraphs != 1:
		return fmt.Errorf("its control file has %d paragraphs", paragraphs)
	case got.Name != want.Name || got.Version != want.Version || got.Arch != want.Arch:
		return fmt.Errorf("it is %s %s for %s", clip(got.Name), clip(got.Version), clip(got.Arch))
	}
	want.MultiArch = got.MultiArch
	return nil
}
