package file

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes a root with files in it and a secret beside it.
func plant(t testing.TB) (Root, string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "src/deep"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "outside"), 0o755))
	for name, text := range map[string]string{"outside/secret": "secret", "root/a": "one\ntwo\nthree", "root/src/b": "b", "root/src/deep/c": "c", "root/empty": ""} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640))
	}
	for name, target := range map[string]string{
		"in": "src/deep/c", "abs": root + "/src/b", "out": "../outside/secret", "absout": filepath.Join(dir, "outside/secret"), "dirout": filepath.Join(dir, "outside"),
		"loop": "loop", "dir": "src", "almost": root + "x/y", "dangling": "src/none", "up": "src/../../outside/secret", "self": ".",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	must(t, unix.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	return Root{root}, dir
}

func TestRead(t *testing.T) {
	r, _ := plant(t)
	for _, test := range []struct {
		params wire.FileReadParams
		data   string
		offset int64
		end    bool
		lines  int64
	}{
		{wire.FileReadParams{Path: []byte("a")}, "one\ntwo\nthree", 0, true, 0},
		{wire.FileReadParams{Path: []byte(r.Path + "/a")}, "one\ntwo\nthree", 0, true, 0},
		{wire.FileReadParams{Path: []byte("./src//../a")}, "one\ntwo\nthree", 0, true, 0},
		{wire.FileReadParams{Path: []byte("in")}, "c", 0, true, 0},
		{wire.FileReadParams{Path: []byte("abs")}, "b", 0, true, 0},
		{wire.FileReadParams{Path: []byte("dir/deep/../b")}, "b", 0, true, 0},
		{wire.FileReadParams{Path: []byte("self/self/a"), Max: 3}, "one", 0, false, 0},
		{wire.FileReadParams{Path: []byte("empty")}, "", 0, true, 0},
		{wire.FileReadParams{Path: []byte("a"), Offset: 4, Max: 3}, "two", 4, false, 0},
		{wire.FileReadParams{Path: []byte("a"), Offset: 99}, "", 99, true, 0},
		{wire.FileReadParams{Path: []byte("a"), StartLine: 2}, "two\nthree", 4, true, 0},
		{wire.FileReadParams{Path: []byte("a"), StartLine: 2, MaxLines: 1}, "two\n", 4, false, 1},
		{wire.FileReadParams{Path: []byte("a"), StartLine: 3, MaxLines: 1}, "three", 8, true, 0},
		{wire.FileReadParams{Path: []byte("a"), StartLine: 9}, "", 13, true, 0},
	} {
		res, err := r.Read(test.params)
		if err != nil || string(res.Data) != test.data || res.Offset != test.offset || res.End != test.end || res.Lines != test.lines {
			t.Errorf("%+v gives %+v, %v", test.params, res, err)
		}
	}
}

// TestRefusals: what leaves the root or is no file is an error that says so, and
// what is outside is not in it.
func TestRefusals(t *testing.T) {
	r, dir := plant(t)
	for path, want := range map[string]struct {
		kind wire.Kind
		text string
	}{
		"out": {wire.KindUnsafe, "leads out of"}, "absout": {wire.KindUnsafe, "leads out of"}, "dirout/secret": {wire.KindUnsafe, "leads out of"},
		"up": {wire.KindUnsafe, "leads out of"}, "almost": {wire.KindUnsafe, "leads out of"}, "loop": {wire.KindUnsafe, "too many"},
		"../outside/secret": {wire.KindUsage, "is not below"}, "/etc/passwd": {wire.KindUsage, "is not below"}, dir + "/outside/secret": {wire.KindUsage, "is not below"},
		"src/../../outside/secret": {wire.KindUsage, "is not below"}, "none": {wire.KindNotFound, "there is no"}, "none/deeper": {wire.KindNotFound, "there is no"},
		"dangling": {wire.KindNotFound, "there is no"}, "a/x": {wire.KindNotFound, "is a file"}, "src": {wire.KindConflict, "is a folder"}, "": {wire.KindConflict, "is a folder"},
		"fifo": {wire.KindConflict, "is a fifo"}, strings.Repeat("x", 300): {wire.KindUsage, "longer"}, strings.Repeat("x/", 300): {wire.KindUnsafe, "deeper"},
	} {
		_, err := r.Read(wire.FileReadParams{Path: []byte(path)})
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Kind != want.kind || !strings.Contains(e.Message, want.text) {
			t.Errorf("%.60q gives %v", path, err)
		}
	}
	if _, err := r.Read(wire.FileReadParams{Path: []byte("a"), Offset: -1}); err == nil {
		t.Error("a negative offset is read")
	}
}

func TestStat(t *testing.T) {
	r, _ := plant(t)
	for path, want := range map[string]struct {
		exists bool
		path   string
		typ    string
	}{
		"a": {true, "a", wire.FileRegular}, "in": {true, "src/deep/c", wire.FileRegular}, "": {true, "", wire.FileDirectory}, "dir": {true, "src", wire.FileDirectory},
		"dangling": {false, "src/none", ""}, "dir/new/deep": {false, "src/new/deep", ""}, "fifo": {true, "fifo", wire.FileFifo},
	} {
		res, err := r.Stat(wire.FileParams{Path: []byte(path)})
		if err != nil || res.Exists != want.exists || string(res.File.Path) != want.path || want.exists && res.File.Type != want.typ {
			t.Errorf("%q gives %+v %q, %v", path, res, res.File.Path, err)
		}
	}
	for _, path := range []string{"new/../a", "new/..", "out", "dirout/new"} {
		if res, err := r.Stat(wire.FileParams{Path: []byte(path)}); err == nil {
			t.Errorf("%q gives %+v", path, res)
		}
	}
}

// pages lists all, in pages of so many.
func pages(t *testing.T, r Root, path string, recursive bool, most int) []string {
	t.Helper()
	all := []string{}
	p := wire.FileListParams{Path: []byte(path), Recursive: recursive, Max: most}
	for {
		res, err := r.List(p)
		must(t, err)
		if len(res.Files) > most {
			t.Fatalf("%d entries, %d are the most", len(res.Files), most)
		}
		for _, f := range res.Files {
			p.After = f.Path
			line := string(f.Path) + " " + f.Type
			if len(f.Target) > 0 && f.Type == wire.FileSymlink && !filepath.IsAbs(string(f.Target)) {
				line += " " + string(f.Target)
			}
			all = append(all, line)
		}
		if !res.More {
			return all
		}
	}
}

func TestList(t *testing.T) {
	r, _ := plant(t)
	must(t, os.WriteFile(r.Path+"/src/deep.x", nil, 0o600)) // sorts before what is in deep by bytes, and behind it by names
	must(t, os.Mkdir(r.Path+"/.pyro-sync-0123456789abcdef", 0o700))
	want := []string{
		"a file", "abs symlink", "absout symlink", "almost symlink", "dangling symlink src/none", "dir symlink src", "dirout symlink", "empty file", "fifo fifo",
		"in symlink src/deep/c", "loop symlink loop", "out symlink ../outside/secret", "self symlink .", "src directory", "src/b file", "src/deep directory", "src/deep/c file",
		"src/deep.x file", "up symlink src/../../outside/secret",
	}
	for _, most := range []int{1, 2, 3, 7, 100} {
		if diff := cmp.Diff(want, pages(t, r, "", true, most)); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", most, diff)
		}
		if diff := cmp.Diff([]string{"src/b file", "src/deep directory", "src/deep.x file"}, pages(t, r, "dir", false, most)); diff != "" {
			t.Errorf("one folder in pages of %d (-want +got):\n%s", most, diff)
		}
	}
	if got := pages(t, r, "src/b", true, 5); len(got) != 1 || got[0] != "src/b file" {
		t.Errorf("a file is listed as %q", got)
	}
	if _, err := r.List(wire.FileListParams{Path: []byte("dirout")}); err == nil {
		t.Error("a folder outside is listed")
	}
}

// TestListFits: long names make a page end before it is too long for a frame.
func TestListFits(t *testing.T) {
	root := t.TempDir()
	for i := range 2000 {
		must(t, os.Symlink(strings.Repeat("t", 3000), filepath.Join(root, fmt.Sprintf("%0200d", i))))
	}
	r := Root{root}
	res, err := r.List(wire.FileListParams{})
	must(t, err)
	if !res.More || len(res.Files) < 10 || len(res.Files) > 200 {
		t.Errorf("%d entries, more %t", len(res.Files), res.More)
	}
	if all := pages(t, r, "", false, 1000); len(all) != 2000 {
		t.Errorf("%d entries in all pages", len(all))
	}
}

// TestDeep: a tree that is deeper than anything sensible is an error, not the
// end of the agent.
func TestDeep(t *testing.T) {
	root := t.TempDir()
	fd, err := unix.Open(root, unix.O_RDONLY, 0)
	must(t, err)
	for range maxParts + 20 {
		must(t, unix.Mkdirat(fd, "d", 0o700))
		next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	_, err = Root{root}.List(wire.FileListParams{Recursive: true})
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Kind != wire.KindUnsafe {
		t.Errorf("error %v", err)
	}
}

// TestSwapped: while files are read, the guest replaces a folder on their way by
// a link to a place outside, and back. What is read is never from there.
func TestSwapped(t *testing.T) {
	r, dir := plant(t)
	must(t, os.WriteFile(filepath.Join(dir, "outside/b"), []byte("secret"), 0o644))
	stop := make(chan struct{})
	var guest sync.WaitGroup
	guest.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(r.Path+"/src", r.Path+"/aside")
			_ = os.Symlink(filepath.Join(dir, "outside"), r.Path+"/src")
			_ = os.Remove(r.Path + "/src")
			_ = os.Rename(r.Path+"/aside", r.Path+"/src")
		}
	})
	read, refused := 0, 0
	for n := 0; n < 20_000 && (read < 200 || refused < 200); n++ {
		res, err := r.Read(wire.FileReadParams{Path: []byte("src/b")})
		switch {
		case err != nil:
			refused++
		case string(res.Data) == "b":
			read++
		default:
			t.Fatalf("read %q", res.Data)
		}
		if list, err := r.List(wire.FileListParams{Recursive: true}); err == nil {
			for _, f := range list.Files {
				if strings.HasSuffix(string(f.Path), "secret") {
					t.Fatalf("listed %q", f.Path)
				}
			}
		}
		if rand.IntN(4) == 0 {
			_, _ = r.Stat(wire.FileParams{Path: []byte("src/b")})
		}
	}
	close(stop)
	guest.Wait()
	if read == 0 || refused == 0 {
		t.Errorf("the guest was never, or always, in the way: %d read, %d refused", read, refused)
	}
}

// FuzzFind: no path leads out of the root.
func FuzzFind(f *testing.F) {
	for _, path := range []string{"a", "src/deep/c", "../outside/secret", "dirout/secret", "up", "self/self/dir/deep/../../out", "/", "loop", "in/..", "almost"} {
		f.Add(path, path)
	}
	f.Fuzz(func(t *testing.T, path, target string) {
		r, _ := plant(t)
		_ = os.Symlink(target, r.Path+"/made")
		for _, p := range []string{path, "made", "made/" + path, path + "/made"} {
			if res, err := r.Read(wire.FileReadParams{Path: []byte(p)}); err == nil && strings.Contains(string(res.Data), "secret") {
				t.Errorf("%q with a link to %q reads %q", p, target, res.Data)
			}
			if _, err := r.List(wire.FileListParams{Path: []byte(p)}); err != nil {
				continue
			}
		}
	})
}
