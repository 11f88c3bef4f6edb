package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"testing"
	"time"

	"pyro/internal/tree"
)

func TestMergeUpper(t *testing.T) {
	tr, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for _, path := range []string{"/etc/keep", "/etc/gone", "/etc/gone2", "/old/a", "/tmp/keep", "/run/keep"} {
		if err := tr.PutFile(path, 0o644, archiveDate, []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	upper := tarFile(t, []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
		{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./etc/new", Mode: 0o600},
		{Name: "./etc/gone", Typeflag: tar.TypeChar},
		{Name: "./etc/gone2", Typeflag: tar.TypeLink, Linkname: "./etc/gone"},
		{Name: "./run/x"},
		{Name: "./tmp", Typeflag: tar.TypeDir},
		{Name: "./tmp/x"},
		{Name: "./dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "./proc/x"},
		{Name: "./sys/x"},
		{Name: "./runner", Mode: 0o644},
	}, map[string]string{"./etc/new": "new"})
	if err := MergeUpper(tr, bytes.NewReader(upper)); err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{
		"/etc/new": true, "/etc/keep": true, "/etc/gone": false, "/etc/gone2": false, "/run/x": false, "/run/keep": true,
		"/tmp/x": false, "/tmp/keep": true, "/dev/null": false, "/proc/x": false, "/sys/x": false, "/runner": true,
	} {
		if _, err := tr.Lookup(path); errors.Is(err, fs.ErrNotExist) == there {
			t.Errorf("%s: %v", path, err)
		}
	}
	if tr.Root().Mode != 0o755 {
		t.Errorf("the root folder has the mode %o", tr.Root().Mode)
	}
}

func TestScrub(t *testing.T) {
	tr, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	old, young := archiveDate.Add(-time.Hour), archiveDate.Add(time.Hour)
	for path, at := range map[string]time.Time{"/var/log/dpkg.log": old, "/etc/passwd-": old, "/old": old, "/young": young} {
		if err := tr.PutFile(path, 0o644, at, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := Scrub(tr, archiveDate); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]time.Time{"/old": old, "/young": archiveDate, "/etc": archiveDate, "/var/log": archiveDate} {
		if n, err := tr.Lookup(path); err != nil || !n.ModTime.Equal(want) {
			t.Errorf("%s: %+v, %v", path, n, err)
		}
	}
	for _, path := range []string{"/var/log/dpkg.log", "/etc/passwd-"} {
		if _, err := tr.Lookup(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
