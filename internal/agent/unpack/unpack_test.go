package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// merges are pushes that succeed.
var merges = []struct {
	name   string
	tree   []string
	dest   string
	stream []string
	want   []string
	answer Answer
}{
	{
		name: "nothing to nothing",
		want: []string{},
	},
	{
		name: "an empty push makes the destination",
		dest: "a/b",
		want: []string{"a/", "a/b/"},
	},
	{
		name:   "into the root",
		tree:   []string{"x=1"},
		stream: []string{"./", "d/", "d/f=new"},
		want:   []string{"d/", "d/f=new", "x=1"},
		answer: Answer{Files: 1, Folders: 2, Bytes: 3},
	},
	{
		name:   "first push, whole folder",
		tree:   []string{"x=1"},
		dest:   "src",
		stream: []string{"d/", "d/e/", "d/e/f=new", "l->d/e", "h==d/e/f"},
		want:   []string{"src/", "src/d/", "src/d/e/", "src/d/e/f=new", "src/h=new", "src/l->d/e", "x=1"},
		answer: Answer{Files: 1, Folders: 2, Links: 2, Bytes: 3},
	},
	{
		name:   "folders are merged",
		tree:   []string{"src/d/kept=1", "src/d/old=1", "src/e/kept=1"},
		dest:   "src",
		stream: []string{"d/", "d/old=2", "d/added=3", "n/f=4"},
		want:   []string{"src/", "src/d/", "src/d/added=3", "src/d/kept=1", "src/d/old=2", "src/e/", "src/e/kept=1", "src/n/", "src/n/f=4"},
		answer: Answer{Files: 3, Folders: 1, Bytes: 3, Replaced: 1},
	},
	{
		name:   "changes in a folder without an entry",
		tree:   []string{"a/b/c/f=1", "a/b/g=1"},
		stream: []string{"a/b/c/f=2"},
		want:   []string{"a/", "a/b/", "a/b/c/", "a/b/c/f=2", "a/b/g=1"},
		answer: Answer{Files: 1, Bytes: 1, Replaced: 1},
	},
	{
		name:   "file for folder, with all that is in it",
		tree:   []string{"f/x/y=1", "f/z=2"},
		stream: []string{"f=new"},
		want:   []string{"f=new"},
		answer: Answer{Files: 1, Bytes: 3, Replaced: 1},
	},
	{
		name:   "folder for file",
		tree:   []string{"f=1"},
		stream: []string{"f/", "f/x=new"},
		want:   []string{"f/", "f/x=new"},
		answer: Answer{Files: 1, Folders: 1, Bytes: 3, Replaced: 1},
	},
	{
		name:   "link for file, file for link, link for link",
		tree:   []string{"f=1", "l->f", "m->f", "t=1"},
		stream: []string{"f->t", "l=new", "m->t"},
		want:   []string{"f->t", "l=new", "m->t", "t=1"},
		answer: Answer{Files: 1, Links: 2, Bytes: 3, Replaced: 3},
	},
	{
		name:   "link for folder, folder for link",
		tree:   []string{"d/x=1", "e/x=1", "l->e"},
		stream: []string{"d->e", "l/", "l/y=2"},
		want:   []string{"d->e", "e/", "e/x=1", "l/", "l/y=2"},
		answer: Answer{Files: 1, Links: 1, Folders: 1, Bytes: 1, Replaced: 2},
	},
	{
		name:   "one name of a hard link is replaced, the other stays",
		tree:   []string{"a=1", "b==a"},
		stream: []string{"a=2"},
		want:   []string{"a=2", "b=1"},
		answer: Answer{Files: 1, Bytes: 1, Replaced: 1},
	},
	{
		name:   "a folder's entry may come after what is in it",
		tree:   []string{"d/x=1"},
		stream: []string{"d/y=2", "d/", "d/"},
		want:   []string{"d/", "d/x=1", "d/y=2"},
		answer: Answer{Files: 1, Folders: 2, Bytes: 1},
	},
	{
		name:   "odd names",
		tree:   []string{".pyro-sync-mine=1"},
		dest:   "a \n\xff",
		stream: []string{"-rf=1", "..x=2", ".pyro-sync-0123456789abcdef/f=3", strings.Repeat("n", 255) + "=4"},
		want: []string{
			".pyro-sync-mine=1", "a \n\xff/", "a \n\xff/-rf=1", "a \n\xff/..x=2", "a \n\xff/.pyro-sync-0123456789abcdef/",
			"a \n\xff/.pyro-sync-0123456789abcdef/f=3", "a \n\xff/" + strings.Repeat("n", 255) + "=4",
		},
		answer: Answer{Files: 4, Bytes: 4},
	},
}

func TestMerge(t *testing.T) {
	for _, test := range merges {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			plant(t, root, test.tree...)
			answer, err := Run(t.Context(), Options{root, test.dest}, bytes.NewReader(stream(t, test.stream...)))
			must(t, err)
			if diff := cmp.Diff(test.want, names(t, root)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.answer, answer); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefused: pushes that change nothing.
func TestRefused(t *testing.T) {
	long := strings.Repeat("d/", 1025)
	for _, test := range []struct {
		name   string
		tree   []string
		dest   string
		stream []string
		kind   Kind
		text   string
	}{
		{"destination is a link", []string{"e/x=1", "src->e"}, "src", []string{"./", "f=1"}, Conflict, `/src" is a symbolic link`},
		{"folder above it is a link", []string{"e/x=1", "a->e"}, "a/src", []string{"f=1"}, Conflict, `/a" is a symbolic link`},
		{"destination is a file", []string{"src=1"}, "src", []string{"f=1"}, Conflict, `/src" is a file`},
		{"implied folder is a link", []string{"src/a->../e", "e/x=1"}, "src", []string{"0=1", "a/f=1"}, Conflict, `/src/a" is a symbolic link`},
		{"implied folder is a file", []string{"src/a=1", "src/0=1"}, "src", []string{"0=2", "a/f=1"}, Conflict, `/src/a" is a file`},
		{"destination goes up", nil, "../x", nil, Unsafe, `".." part`},
		{"absolute destination", nil, "/x", nil, Unsafe, `absolute`},
		{"name goes up", nil, "a", []string{"b/../../f=1"}, Unsafe, `".." part`},
		{"name of ours", nil, "", []string{".pyro-sync-0123456789abcdef/f=1"}, Unsafe, "uses itself"},
		{"destination of ours", nil, ".pyro-sync-0123456789abcdef", nil, Unsafe, "uses itself"},
		{"twice", nil, "", []string{"f=1", "f=2"}, Unsafe, `"./f" stands in the stream twice`},
		{"file then folder", nil, "", []string{"f=1", "f/"}, Unsafe, `"./f`},
		{"folder then file", nil, "", []string{"f/", "f=1"}, Unsafe, `"./f"`},
		{"below a file", nil, "", []string{"f=1", "f/g=1"}, Unsafe, `"./f/g"`},
		{"below a link", []string{"e/"}, "", []string{"f->e", "f/g=1"}, Unsafe, `"./f/g"`},
		{"hard link to what is not sent", []string{"a=1"}, "", []string{"h==a"}, Unsafe, `"./h" is a hard link`},
		{"hard link to a folder", nil, "", []string{"a/", "h==a"}, Unsafe, `"./h" is a hard link`},
		{"hard link to the destination", nil, "", []string{"h==."}, Unsafe, `"./h" is a hard link`},
		{"hard link through a link", []string{"e/x=1"}, "", []string{"l->../../e", "h==l/x"}, Unsafe, `"./h" is a hard link`},
		{"hard link that goes up", []string{"x=1"}, "d", []string{"h==../x"}, Unsafe, `".." part`},
		{"file without a name", nil, "", []string{".=1"}, Unsafe, `has no name`},
		{"name too long", nil, "", []string{strings.Repeat("n", 256) + "=1"}, Unsafe, `longer than a name`},
		{"too deep", nil, "", []string{long}, Unsafe, `more than 1024 parts`},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			plant(t, root, test.tree...)
			before := everything(t, root)
			_, err := Run(t.Context(), Options{root, test.dest}, bytes.NewReader(stream(t, test.stream...)))
			wantError(t, err, test.kind, test.text)
			if diff := cmp.Diff(before, everything(t, root)); diff != "" {
				t.Errorf("the tree has changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestRefusedHeaders: entries that the notation of trees has no sign for.
func TestRefusedHeaders(t *testing.T) {
	for _, test := range []struct {
		header tar.Header
		text   string
	}{
		{tar.Header{Typeflag: tar.TypeFifo, Name: "./f"}, `"./f" is of type '6'`},
		{tar.Header{Typeflag: tar.TypeChar, Name: "./f"}, `"./f" is of type '3'`},
		{tar.Header{Typeflag: tar.TypeBlock, Name: "./f"}, `"./f" is of type '4'`},
		{tar.Header{Typeflag: tar.TypeReg, Name: "./f", Uid: 1<<32 - 1}, `no user can be`},
		{tar.Header{Typeflag: tar.TypeReg, Name: "/f"}, `absolute name`},
		{tar.Header{Typeflag: tar.TypeSymlink, Name: "./f"}, `which no path can be`},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		must(t, w.WriteHeader(&test.header))
		must(t, w.Close())
		b.WriteString(CommitWord)
		root := t.TempDir()
		_, err := Run(t.Context(), Options{Root: root}, &b)
		wantError(t, err, Unsafe, test.text)
		if got := names(t, root); len(got) > 0 {
			t.Errorf("%s: the root has %q", test.text, got)
		}
	}
}

// TestAttributes: modes to the last bit, times to the nanosecond, of what is new,
// replaced and merged; and what has no entry keeps its own.
func TestAttributes(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	plant(t, root, "src/merged/f=1", "src/merged/g=1", "src/implied/f=1", "src/other/f=1")
	must(t, os.Chown(filepath.Join(root, "src/merged"), 7, 8))
	must(t, os.Chown(filepath.Join(root, "src/implied"), 7, 8))
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	_, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(stream(t,
		"merged/", "merged/f=2", "new/", "new/f=2", "new/made/f=2", "implied/f=2", "l->f", "new/h==new/f",
	)))
	must(t, err)
	var untouched time.Time // of folders that got an entry: their time is that of the push
	for _, want := range []struct {
		name     string
		mode     os.FileMode
		uid, gid uint32
		mtime    time.Time
	}{
		{".", oldFolderMode, 0, 0, oldTime},
		{"src", oldFolderMode, 0, 0, untouched},
		{"src/merged", newFolderMode, 0, 0, newTime},
		{"src/merged/f", newFileMode, 0, 0, newTime},
		{"src/merged/g", oldFileMode, 0, 0, oldTime},
		{"src/implied", oldFolderMode, 7, 8, untouched},
		{"src/implied/f", newFileMode, 0, 0, newTime},
		{"src/new", newFolderMode, 0, 0, newTime},
		{"src/new/h", newFileMode, 0, 0, newTime},
		{"src/new/made", impliedMode, 0, 0, untouched},
		{"src/l", 0o777, 0, 0, newTime},
		{"src/other", oldFolderMode, 0, 0, oldTime},
	} {
		info, err := os.Lstat(filepath.Join(root, want.name))
		must(t, err)
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm() != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s is %v %d:%d, want %v %d:%d", want.name, info.Mode(), st.Uid, st.Gid, want.mode, want.uid, want.gid)
		}
		if want.mtime != untouched && !info.ModTime().Equal(want.mtime) {
			t.Errorf("%s has the time %v, want %v", want.name, info.ModTime(), want.mtime)
		}
	}
}

// TestModeBits: all twelve bits of a header arrive, also in a folder whose setgid
// bit would be inherited.
func TestModeBits(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	must(t, os.Chown(root, 0, 9))
	must(t, os.Chmod(root, os.ModeSetgid|0o755))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	modes := []int64{0, 0o1777, 0o444, 0o7755, 0o600}
	for i, mode := range modes {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("./f%d", i), Mode: mode, Uid: 3, Gid: 4}))
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("./d%d/", i), Mode: mode}))
	}
	must(t, w.Close())
	b.WriteString(CommitWord)
	_, err := Run(t.Context(), Options{Root: root}, &b)
	must(t, err)
	for i, mode := range modes {
		for name, owner := range map[string][2]uint32{"f": {3, 4}, "d": {0, 0}} {
			st, err := os.Lstat(filepath.Join(root, fmt.Sprintf("%s%d", name, i)))
			must(t, err)
			sys := st.Sys().(*syscall.Stat_t)
			if int64(sys.Mode&0o7777) != mode || sys.Uid != owner[0] || sys.Gid != owner[1] {
				t.Errorf("%s%d is %o %d:%d, want %o %v", name, i, sys.Mode&0o7777, sys.Uid, sys.Gid, mode, owner)
			}
		}
	}
}

// TestSpecialFilesAreReplaced: a socket, a fifo or a device of the guest is in
// nobody's way.
func TestSpecialFilesAreReplaced(t *testing.T) {
	root := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(root, "f"), 0o600))
	answer, err := Run(t.Context(), Options{Root: root}, bytes.NewReader(stream(t, "f=1")))
	must(t, err)
	if diff := cmp.Diff([]string{"f=1"}, names(t, root)); diff != "" || answer.Replaced != 1 {
		t.Errorf("%+v, tree (-want +got):\n%s", answer, diff)
	}
}

func TestRootMustBeAFolder(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "real/x=1", "link->real", "file=1")
	before := everything(t, dir)
	for _, name := range []string{"link", "file", "missing"} {
		_, err := Run(t.Context(), Options{Root: filepath.Join(dir, name)}, bytes.NewReader(stream(t, "f=1")))
		wantError(t, err, Conflict, name+`" is not a folder that can be opened`)
	}
	if diff := cmp.Diff(before, everything(t, dir)); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

// TestCounts: many names in one folder, many folders, and deep ones.
func TestCounts(t *testing.T) {
	var entries []string
	for i := range 10_000 {
		entries = append(entries, fmt.Sprintf("wide/%05d=", i))
	}
	for i := range 1_000 {
		entries = append(entries, fmt.Sprintf("many/%04d/f=1", i))
	}
	entries = append(entries, strings.Repeat("d/", 300)+"f=1")
	s := stream(t, entries...)
	root := t.TempDir()
	for round := range 2 {
		answer, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(s))
		must(t, err)
		want := Answer{Files: len(entries), Bytes: 1_001, Replaced: round * len(entries)}
		if diff := cmp.Diff(want, answer); diff != "" {
			t.Errorf("answer %d (-want +got):\n%s", round, diff)
		}
		if got := len(names(t, root)); got != len(entries)+1+1+1+1_000+300 {
			t.Errorf("the tree has %d names after push %d", got, round)
		}
	}
}
