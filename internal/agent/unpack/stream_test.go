package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// TestEOF ends the stream at every place where something begins or ends, and at
// many others.
func TestEOF(t *testing.T) {
	root := t.TempDir()
	plant(t, root, fullTree...)
	before := everything(t, root)
	s := stream(t, fullStream...)
	var cuts []int
	for at := 0; at < len(s)-len(CommitWord); at += 101 {
		cuts = append(cuts, at)
	}
	for at := 0; at < len(s); at += 512 {
		cuts = append(cuts, at, max(0, at-1), min(len(s)-1, at+1))
	}
	for i := range len(CommitWord) {
		cuts = append(cuts, len(s)-1-i)
	}
	for _, at := range cuts {
		_, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(s[:at]))
		wantError(t, err, Canceled, "nothing was changed")
		if diff := cmp.Diff(before, everything(t, root)); diff != "" {
			t.Fatalf("cut at %d of %d: the tree has changed (-before +after):\n%s", at, len(s), diff)
		}
	}
}

// TestCommitWord: only the right word counts.
func TestCommitWord(t *testing.T) {
	a := archive(t, "f=1")
	root := t.TempDir()
	for _, word := range []string{"COMMIT\n", "abort!\n", "commit ", "\x00\x00\x00\x00\x00\x00\x00"} {
		_, err := Run(t.Context(), Options{Root: root}, bytes.NewReader(append(a[:len(a):len(a)], word...)))
		wantError(t, err, Internal, "not the commit word")
		if got := names(t, root); len(got) > 0 {
			t.Errorf("%q: the root has %q", word, got)
		}
	}
	_, err := Run(t.Context(), Options{Root: root}, bytes.NewReader([]byte("no archive"+string(a))))
	wantError(t, err, Internal, "not an archive")
}

// TestNoEnd: an archive without its end blocks was not sent whole.
func TestNoEnd(t *testing.T) {
	a := archive(t, "f=1")
	s := append(a[:len(a)-1024:len(a)-1024], CommitWord...)
	root := t.TempDir()
	_, err := Run(t.Context(), Options{Root: root}, bytes.NewReader(s))
	wantError(t, err, Canceled, "before all had arrived")
}

// TestPieces: the stream may come in any pieces, and stay open after the commit
// word.
func TestPieces(t *testing.T) {
	s := stream(t, fullStream...)
	open, end := io.Pipe()
	defer end.Close()
	go func() { _, _ = end.Write(s) }()
	for name, r := range map[string]io.Reader{
		"bytes": iotest.OneByteReader(bytes.NewReader(s)), "halves": iotest.HalfReader(bytes.NewReader(s)),
		"data with the end": iotest.DataErrReader(bytes.NewReader(s)), "stays open": open,
	} {
		root := t.TempDir()
		plant(t, root, fullTree...)
		_, err := Run(t.Context(), Options{root, "src"}, r)
		must(t, err)
		if diff := cmp.Diff(fullResult, names(t, root)); diff != "" {
			t.Errorf("%s: tree (-want +got):\n%s", name, diff)
		}
	}
}

// TestCancel: a signal is heard while the stream says nothing.
func TestCancel(t *testing.T) {
	root := t.TempDir()
	plant(t, root, fullTree...)
	before := everything(t, root)
	in, out := io.Pipe()
	defer out.Close()
	ctx, cancel := context.WithCancel(t.Context())
	a := archive(t, fullStream...)
	go func() {
		_, _ = out.Write(a)
		cancel()
	}()
	_, err := Run(ctx, Options{root, "src"}, in)
	wantError(t, err, Canceled, "asked to stop")
	if diff := cmp.Diff(before, everything(t, root)); diff != "" {
		t.Errorf("the tree has changed (-before +after):\n%s", diff)
	}
}

// TestReadError: the other end breaks.
func TestReadError(t *testing.T) {
	root := t.TempDir()
	_, err := Run(t.Context(), Options{Root: root}, iotest.ErrReader(os.ErrDeadlineExceeded))
	wantError(t, err, Internal, "cannot be read")
}

// TestSparse: a few bytes that say they are a thousand gigabytes.
func TestSparse(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "./f", Size: 1,
		PAXRecords: map[string]string{"XNU.sparse.size": "1000000000000", "XNU.sparse.numblocks": "1", "XNU.sparse.map": "0,1"},
	}))
	_, err := w.Write([]byte("x"))
	must(t, err)
	must(t, w.Close())
	s := bytes.ReplaceAll(b.Bytes(), []byte("XNU"), []byte("GNU")) // the writer refuses the name
	_, err = Run(t.Context(), Options{Root: t.TempDir()}, bytes.NewReader(append(s, CommitWord...)))
	wantError(t, err, Unsafe, "sparse")
}

// TestSweep: what a killed process left goes, what a living one has stays, and so
// does what only looks like it.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	plant(t, root,
		stagePrefix+"0123456789abcdef/new/d/f=1", stagePrefix+"0123456789abcdef/old/1/l->/", stagePrefix+"aaaaaaaaaaaaaaaa/new/f=1",
		stagePrefix+"short/f=1", stagePrefix+"0123456789abcdeX/f=1", stagePrefix+"bbbbbbbbbbbbbbbb=file", stagePrefix+"cccccccccccccccc->d", "d/f=1",
	)
	living, err := os.Open(filepath.Join(root, stagePrefix+"aaaaaaaaaaaaaaaa"))
	must(t, err)
	defer living.Close()
	must(t, lock(int(living.Fd())))
	_, err = Run(t.Context(), Options{Root: root}, bytes.NewReader(stream(t, "x=1")))
	must(t, err)
	want := []string{
		stagePrefix + "0123456789abcdeX/", stagePrefix + "0123456789abcdeX/f=1",
		stagePrefix + "aaaaaaaaaaaaaaaa/", stagePrefix + "aaaaaaaaaaaaaaaa/new/", stagePrefix + "aaaaaaaaaaaaaaaa/new/f=1",
		stagePrefix + "bbbbbbbbbbbbbbbb=file", stagePrefix + "cccccccccccccccc->d", stagePrefix + "short/", stagePrefix + "short/f=1",
		"d/", "d/f=1", "x=1",
	}
	if diff := cmp.Diff(want, names(t, root)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}
