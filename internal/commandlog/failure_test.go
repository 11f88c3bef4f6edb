package commandlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// smallDisk returns a folder on a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("needs root to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk lets the disk be full in the beginning, in the tail, and only when
// the tail is put in its place.
func TestFullDisk(t *testing.T) {
	for _, tc := range []struct {
		name    string
		command int64
		n       int
		fails   bool
	}{
		{"in the beginning", 4 << 20, 3 << 20, true},
		{"in the tail", 1250 << 10, 3 << 20, true},
		{"at the end", 1 << 20, 3 << 20, false}, // 768 KiB and a ring of 256 KiB, which are there twice for a moment
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := smallDisk(t, "size=1100k")
			l := Open(filepath.Join(dir, "log"), Budget{Command: tc.command})
			b := sample(tc.n)
			o := l.Begin(1)
			for p := range bytesOf(b, 10_000) {
				if n, err := o.Stdout().Write(p); n != len(p) || err != nil {
					t.Fatalf("wrote %d of %d: %v", n, len(p), err)
				}
			}
			during := readText(t, l, 1, true, 0, 100_000)
			s, err := o.Close()
			if s.StdoutBytes != int64(tc.n) {
				t.Errorf("%+v", s)
			}
			if (err != nil) != tc.fails || err != nil && (api.KindOf(err) != api.KindStorage || !errors.Is(err, syscall.ENOSPC) || api.AsError(err).Hint == "") {
				t.Errorf("Close: %v", err)
			}
			if !during.truncated || !strings.HasPrefix(during.text, string(b[:50_000])) {
				t.Errorf("wrong beginning, truncated %t", during.truncated)
			}
			if _, err := os.Stat(l.path(1, stdout) + tailSuffix); (err == nil) != (tc.name != "in the beginning") {
				t.Errorf("tail: %v", err)
			}
			after := readText(t, l, 1, true, s.StdoutBytes, 100_000)
			if during.text[:50_000] != after.text[:50_000] || after.path == "" {
				t.Error("another beginning after the end")
			}
			if tc.fails && !strings.HasSuffix(after.text, " bytes left out ...]\n") {
				t.Errorf("the end that is missing is not marked: %q", after.text[len(after.text)-100:])
			}
			if !tc.fails && !strings.HasSuffix(after.text, string(b[tc.n-50_000:])) {
				t.Error("wrong end")
			}
			checkAccounts(t, l)

			// With room again, the tail gets to its place.
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=8m"); err != nil {
				t.Fatal(err)
			}
			again := readText(t, l, 1, true, s.StdoutBytes, 100_000)
			if again != after {
				t.Error("another text after the tail was put in its place")
			}
			if got := names(t, l.dir); len(got) != 1 {
				t.Errorf("files %q", got)
			}
			checkAccounts(t, l)
		})
	}
}

// bytesOf cuts b into pieces of n bytes.
func bytesOf(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			p := b[:min(n, len(b))]
			if b = b[len(p):]; !yield(p) {
				return
			}
		}
	}
}

// The folder cannot be made: a file is in its place.
func TestNoFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := Open(dir, Budget{})
	o := l.Begin(1)
	if err := o.Err(); err != nil {
		t.Error(err)
	}
	o.Stderr().Write(bytes.Repeat([]byte("x"), 100_000))
	err := o.Err()
	if api.KindOf(err) != api.KindStorage || !strings.Contains(err.Error(), "stderr") || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if got := readText(t, l, 1, false, 0, 10); got != (excerpt{"\n[... 100000 bytes left out ...]\n", true, ""}) {
		t.Errorf("%+v", got)
	}
	if s, err := o.Close(); err == nil || s.StderrBytes != 100_000 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, _, _, err := l.Read(1, false, 5, 10); api.KindOf(err) != api.KindStorage || api.AsError(err).Hint == "" {
		t.Errorf("read: %v", err)
	}
	if n := l.Bytes(); n != 0 {
		t.Errorf("%d bytes", n)
	}
}

// Files that are not what this package left there are read as far as they make
// sense, and nothing outside the folder is.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"000001.stdout":      "head",
		"000001.stdout.tail": "nonsense",
		"000002.stdout":      "head",
		"000002.stdout.tail": strings.Repeat("9", 20) + " 00000000000000000004 00000000000000000004 \ntail", // size is no int64
		"000003.stdout":      "head",
		"000003.stdout.tail": "00000000000000000008 00000000000000000004 00000000000000000100 \nshort",
		"000004.stdout":      "hea", // a power failure took the rest
		"000004.stdout.tail": "00000000000000000008 00000000000000000004 00000000000000000010 \nijcdefgh",
		"000005.stdout.tail": "00000000000000000008 00000000000000000004 00000000000000000004 \ntail",
		"notes.txt":          "not ours",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := Open(dir, Budget{})
	for sequence, want := range []string{
		1: "head", 2: "head", 3: "head",
		4: "hea\n[... 4 bytes left out ...]\ndefghij", // the oldest byte of the ring is not trusted
		5: "",
	} {
		if sequence == 0 {
			continue
		}
		if got := readText(t, l, sequence, true, -1, 100); got.text != want {
			t.Errorf("command %d: %q, want %q", sequence, got.text, want)
		}
	}
	// Rings that are none, and those in their places, are gone.
	want := []string{"000001.stdout", "000002.stdout", "000003.stdout", "000004.stdout", "000005.stdout.tail", "notes.txt"}
	for i, name := range names(t, dir) {
		if i >= len(want) || !strings.HasSuffix(name, " "+want[i]) {
			t.Errorf("file %s is left", name)
		}
	}
	checkAccounts(t, l)
}
