package unpack

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/internal/agent/beneath"
)

// TestSwappedFolders: while pushes come in, the guest replaces folders on their
// way by links to a place outside, and back, as fast as it can. Whatever the
// pushes say of that, nothing outside changes.
func TestSwappedFolders(t *testing.T) {
	dir := t.TempDir()
	outside, root := filepath.Join(dir, "outside"), filepath.Join(dir, "root")
	plant(t, outside, "b/f=secret", "b/gone/x=secret", "f=secret", "gone/x=secret")
	plant(t, root, "src/a/b/f=1", "src/a/b/gone/x=1", "src/a/f=1")
	before := everything(t, outside)
	s := stream(t, "a/", "a/b/f=2", "a/b/gone=3", "a/b/n/new=4", "a/f=5", "a/gone->b", "z/", "z/f=6")

	stop := make(chan struct{})
	var guest sync.WaitGroup
	rootFD, err := beneath.OpenFolder(unix.AT_FDCWD, root)
	must(t, err)
	defer unix.Close(rootFD)
	for _, path := range [][]string{{"src"}, {"src", "a"}, {"src", "a", "b"}} {
		guest.Go(func() {
			w := walker{base: rootFD}
			defer w.close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.cut(0) // the guest itself is not to follow the links that it makes
				if at, err := w.at(path[:len(path)-1]); err == nil {
					swap(at, path[len(path)-1], rootFD, outside)
				}
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			}
		})
	}
	const enough, most = 200, 5_000
	done, refused := 0, map[Kind]int{}
	for n := 0; n < most && (done < enough || refused[Conflict] < enough); n++ {
		err := runWith(t.Context(), Options{root, "src"}, s, func(string, string) error {
			if rand.IntN(8) == 0 {
				time.Sleep(50 * time.Microsecond) // or a machine with one processor would let nobody in between
			}
			return nil
		})
		if err != nil {
			refused[fault(root, err).Kind]++
			continue
		}
		done++
	}
	close(stop)
	guest.Wait()
	t.Logf("%d pushes done, refused: %v", done, refused)
	if done == 0 || refused[Conflict] == 0 {
		t.Errorf("the guest was never, or always, in the way: %d pushes done, refused: %v", done, refused)
	}
	if diff := cmp.Diff(before, everything(t, outside)); diff != "" {
		t.Errorf("something outside has changed (-before +after):\n%s", diff)
	}
	for _, name := range names(t, root) {
		if strings.HasPrefix(name, stagePrefix) {
			t.Errorf("%s is left over", name)
		}
	}
}

// swap replaces name in the folder at by a link for a moment.
func swap(at int, name string, aside int, target string) {
	temp := "aside-" + name
	if st, err := beneath.Lstat(at, name); err == nil && !beneath.IsFolder(st) {
		_ = unix.Unlinkat(at, name, 0) // left when another of us took the folder above it
	}
	_ = unix.Mkdirat(at, name, 0o755)
	if unix.Renameat(at, name, aside, temp) == nil {
		_ = unix.Symlinkat(target, at, name)
		_ = unix.Unlinkat(at, name, 0)
		_ = unix.Renameat(aside, temp, at, name)
		_ = removeAll(aside, temp)
	}
}

// TestStagingSwapped: the guest, who is root in there too, puts links into the
// staging folder itself. What is written through open folders stays in them.
func TestStagingSwapped(t *testing.T) {
	dir := t.TempDir()
	outside, root := filepath.Join(dir, "outside"), filepath.Join(dir, "root")
	plant(t, outside, "d/f=secret", "f=secret")
	plant(t, root, "d/x=1")
	before := everything(t, outside)
	s := stream(t, "d/", "d/e/", "d/e/f=2", "d/f=3", "h==d/f", "d/e/g=4")
	for k := range 60 {
		count := 0
		_ = runWith(t.Context(), Options{Root: root}, s, func(string, string) error {
			if count++; count != k {
				return nil
			}
			for _, name := range []string{"new/d/e", "new/d", "new/h", "new", "old"} {
				for _, found := range must2(filepath.Glob(filepath.Join(root, stagePrefix+"*", name))) {
					must(t, os.Rename(found, found+".aside"))
					must(t, os.Symlink(outside, found))
				}
			}
			return nil
		})
		if diff := cmp.Diff(before, everything(t, outside)); diff != "" {
			t.Fatalf("at step %d something outside has changed (-before +after):\n%s", k, diff)
		}
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// FuzzUnpack: whatever the stream holds, nothing outside of the root changes,
// nothing of ours is left in it, and without success nothing changes there either.
func FuzzUnpack(f *testing.F) {
	a := archive(f, fullStream...)
	f.Add([]byte(nil))
	f.Add(a)
	f.Add(append(slices.Clone(a), CommitWord...))
	f.Add(stream(f, "../outside=1", "/x=1", "a/../../x=1"))
	f.Add(stream(f, "l->../outside", "l/f=1"))
	f.Add(stream(f, "src->..", "h==src", "..=1", ".=2", ".pyro-sync-0123456789abcdef=1"))
	f.Add(stream(f, strings.Repeat("long/", 60)+"f=1", "l->"+strings.Repeat("x", 200)))
	f.Add(recorded(f, "-a/f", "-l/f", "-../outside/f", "a/g=1?absent", "l/f=1?file", "file=2?sha256:"+sum([]byte("1"))))
	f.Add(recorded(f, "-folder/x", "folder=1", "-file", "file/in=2"))
	f.Fuzz(func(t *testing.T, s []byte) {
		dir := t.TempDir()
		outside, root := filepath.Join(dir, "outside"), filepath.Join(dir, "root")
		plant(t, outside, "f=secret")
		plant(t, root, "src/a/f=1", "src/l->../../outside", "src/folder/x=1", "src/file=1")
		beforeOutside, before := everything(t, outside), everything(t, root)
		_, err := Run(t.Context(), Options{root, "src"}, bytes.NewReader(s))
		if diff := cmp.Diff(beforeOutside, everything(t, outside)); diff != "" {
			t.Errorf("something outside has changed (-before +after):\n%s", diff)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 2 {
			t.Errorf("beside the root there is %v", entries)
		}
		if err == nil {
			if entries, _ := os.ReadDir(root); len(entries) != 1 {
				t.Errorf("beside the destination there is %v", entries)
			}
			return
		}
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("error of type %T", err)
		}
		if diff := cmp.Diff(before, everything(t, root)); diff != "" {
			t.Errorf("after %v the tree has changed (-before +after):\n%s", err, diff)
		}
	})
}
