package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Trees and streams are written down as a list of entries:
//
//	a/b/       folder          a=text    file
//	l->target  symbolic link   h==a      hard link to a

// The times that trees and streams get.
var (
	oldTime = time.Date(2020, 1, 2, 3, 4, 5, 678, time.UTC)
	newTime = time.Date(2021, 2, 3, 4, 5, 6, 789, time.UTC)
)

// The modes that they get.
const (
	oldFileMode, oldFolderMode = 0o640, 0o750
	newFileMode, newFolderMode = 0o755, 0o711
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("needs root")
	}
}

// plant makes the entries below dir, with the folders above them, and gives all
// the old mode and time.
func plant(t testing.TB, dir string, entries ...string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	for _, e := range entries {
		if name, target, ok := strings.Cut(e, "->"); ok {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.Symlink(target, filepath.Join(dir, name)))
		} else if name, other, ok := strings.Cut(e, "=="); ok {
			must(t, os.Link(filepath.Join(dir, other), filepath.Join(dir, name)))
		} else if name, text, ok := strings.Cut(e, "="); ok {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		} else {
			must(t, os.MkdirAll(filepath.Join(dir, e), 0o755))
		}
	}
	var folders []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			folders = append(folders, p)
		case d.Type().IsRegular():
			return errors.Join(os.Chmod(p, oldFileMode), os.Chtimes(p, oldTime, oldTime))
		}
		return nil
	}))
	for i := range folders {
		p := folders[len(folders)-1-i]
		must(t, errors.Join(os.Chmod(p, oldFolderMode), os.Chtimes(p, oldTime, oldTime)))
	}
}

// names lists what is below dir in the form of plant, with no more than that.
func names(t testing.TB, dir string) []string {
	t.Helper()
	return list(t, dir, func(string, fs.FileInfo) string { return "" })
}

// everything lists what is below dir with all that a failed run must not change:
// dir itself is in it.
func everything(t testing.TB, dir string) []string {
	t.Helper()
	all := list(t, dir, stamp)
	info, err := os.Lstat(dir)
	must(t, err)
	return append(all, "."+stamp("", info))
}

func stamp(_ string, info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t)
	s := fmt.Sprintf(" [%v %d:%d %s links %d", info.Mode(), st.Uid, st.Gid, info.ModTime().UTC().Format(time.RFC3339Nano), st.Nlink)
	if !info.IsDir() {
		s += fmt.Sprintf(" inode %d", st.Ino) // so hard links are told too
	}
	return s + "]"
}

func list(t testing.TB, dir string, more func(string, fs.FileInfo) string) []string {
	t.Helper()
	all := []string{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			name += "/"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			name += "->" + target
		case d.Type().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			name += "=" + string(b)
		default:
			name += "=" + d.Type().String()
		}
		all = append(all, name+more(p, info))
		return nil
	}))
	return all
}

// header makes the header of an entry, and its data.
func header(e string) (*tar.Header, string) {
	h := &tar.Header{
		Typeflag: tar.TypeDir, Mode: newFolderMode, ModTime: newTime, Format: tar.FormatPAX,
		Uid: os.Geteuid(), Gid: os.Getegid(),
	}
	if name, target, ok := strings.Cut(e, "->"); ok {
		h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, target
	} else if name, other, ok := strings.Cut(e, "=="); ok {
		h.Typeflag, h.Name, h.Linkname = tar.TypeLink, name, "./"+other
	} else if name, text, ok := strings.Cut(e, "="); ok {
		h.Typeflag, h.Name, h.Mode, h.Size = tar.TypeReg, name, newFileMode, int64(len(text))
		h.Name = "./" + h.Name
		return h, text
	} else {
		h.Name = e
	}
	h.Name = "./" + h.Name
	return h, ""
}

// archive makes the tar of entries, with its end.
func archive(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h, data := header(e)
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(data))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// stream makes a whole stream.
func stream(t testing.TB, entries ...string) []byte {
	t.Helper()
	return append(archive(t, entries...), CommitWord...)
}

// wantError checks the kind of err and that its message has text.
func wantError(t testing.TB, err error, kind Kind, text string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Message, text) {
		t.Errorf("error %v (%T); want one of kind %s with %q", err, err, kind, text)
	}
}
