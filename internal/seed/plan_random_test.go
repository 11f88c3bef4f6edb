package seed_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// Few names and contents, so that changes meet: the same name with another type,
// another content of the same size.
var (
	someNames    = []string{"a", "b", "c", "d", "odd \xff"}
	someContents = []string{"", "one", "two", "three", strings.Repeat("x", 1<<20+1), strings.Repeat("y", 1<<20+1)}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func randomPath(r *rand.Rand) string {
	p := pick(r, someNames)
	for r.IntN(2) == 0 && strings.Count(p, "/") < 3 {
		p += "/" + pick(r, someNames)
	}
	return p
}

func randomContent(r *rand.Rand) string {
	if r.IntN(20) == 0 {
		return pick(r, someContents[4:])
	}
	return pick(r, someContents[:4])
}

// change does something to the host. What is impossible just then is not done.
func (h host) change(r *rand.Rand) {
	p := h.path(randomPath(r))
	switch r.IntN(12) {
	case 0:
		os.MkdirAll(p, 0o755)
	case 1:
		os.Symlink(pick(r, someNames[:4]), p)
	case 2:
		os.Link(h.path(randomPath(r)), p)
	case 3:
		if info, err := os.Lstat(p); err == nil && info.Mode().Type() != os.ModeSymlink {
			os.Chmod(p, pick(r, []os.FileMode{0o644, 0o755, 0o700}))
		}
	case 4:
		os.RemoveAll(p)
	case 5:
		unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, h.path(randomPath(r)), pick(r, []uint{0, unix.RENAME_EXCHANGE}))
	case 6:
		if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() { // the old time again
			os.WriteFile(p, []byte(randomContent(r)), 0o644)
			os.Chtimes(p, info.ModTime(), info.ModTime())
		}
	default:
		if info, err := os.Lstat(p); err == nil && info.Mode().Type() == os.ModeSymlink {
			return // it may lead out of what the test made
		}
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.WriteFile(p, []byte(randomContent(r)), 0o644)
	}
}

// change does something in the guest.
func (w *workspace) change(r *rand.Rand) {
	p := "/" + randomPath(r)
	if r.IntN(2) == 0 {
		p = "/sub" + p
	}
	n := &tree.Node{Mode: pick(r, []uint32{0o644, 0o755, 0o4755}), ModTime: when, UID: uint32(r.IntN(2))}
	switch r.IntN(8) {
	case 0:
		n.Type = tree.Dir
		w.tree.Put(p, n, nil)
	case 1:
		n.Type, n.Target = tree.Symlink, pick(r, someNames)
		w.tree.Put(p, n, nil)
	case 2:
		w.tree.Remove(p)
	case 3:
		w.tree.Link("/"+randomPath(r), p)
	case 4:
		n.Type = tree.Fifo
		w.tree.Put(p, n, nil)
	case 5: // a copy of what is there, with data of its own
		if old := step(w.tree, p); old != nil && old.Type == tree.Regular {
			data, err := io.ReadAll(w.tree.Open(old)) // Put cannot read what it adds to
			if err != nil {
				w.Fatal(err)
			}
			w.tree.Put(p, &tree.Node{Mode: old.Mode, ModTime: old.ModTime}, bytes.NewReader(data))
		}
	default:
		w.tree.Put(p, n, strings.NewReader(randomContent(r)))
	}
}

// TestPlanRandom pushes a random folder again and again while both sides change
// at random, and compares every plan with a comparison of everything.
func TestPlanRandom(t *testing.T) {
	for i := range uint64(40) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := rand.New(rand.NewPCG(i, 1))
			h := newHost(t)
			for range 15 {
				h.change(r)
			}
			w := newWorkspace(t, pick(r, []string{"", h.dir}))
			h.tick()
			for range 6 {
				dest := pick(r, []string{"/workspace", "/workspace", "/workspace/sub"})
				for range r.IntN(8) {
					h.change(r)
				}
				for range r.IntN(8) {
					w.change(r)
				}
				if n := step(w.tree, "/sub"); n != nil && n.Type != tree.Dir {
					w.remove("/sub")
				}
				w.push(h, dest)
				h.tick()
				if r.IntN(3) == 0 {
					w.store()
				}
			}
		})
	}
}

// push makes a plan, checks it and applies it.
func (w *workspace) push(h host, dest string) {
	w.Helper()
	before := treetest.Entries(w, w.tree)
	p := w.plan(h.dir, dest)
	fresh := w.check(h.dir, dest, p)
	w.apply(p, dest)
	w.holds(fresh, dest)
	after := treetest.Entries(w, w.tree)
	for name, old := range before {
		if covered(fresh, name) {
			continue
		}
		now := after[name]
		now.LinkOf, old.LinkOf = "", "" // its other name may have been replaced
		if d := gocmp.Diff(old, now); d != "" {
			w.Errorf("%q is not in the source, but changed: %s", name, d)
		}
	}
	if again := w.plan(h.dir, dest); len(again.Changes.Entries) != 0 {
		w.Errorf("again: %v", changes(again))
	}
}

// covered says whether the source has the name or something else than a folder
// above it.
func covered(fresh *tree.Tree, name string) bool {
	if step(fresh, name) != nil {
		return true
	}
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if n := step(fresh, dir); n != nil {
			return n.Type != tree.Dir
		}
	}
	return false
}

// TestPlanSwapped: while plans are made, a folder and a file are exchanged with
// links to the outside, over and over.
func TestPlanSwapped(t *testing.T) {
	h := newHost(t)
	outside := newHost(t)
	outside.file("canary", "CANARY")
	outside.file("deeper/canary", "CANARY")
	for i := range 20 {
		h.file(fmt.Sprintf("d/deeper/%d", i), "inside")
		h.file(fmt.Sprintf("d/%d", i), "inside")
	}
	h.file("d/canary", "inside")
	h.file("f", "inside")
	h.symlink("dlink", outside.dir)
	h.symlink("flink", outside.path("canary"))
	// Below this destination the links count as inside, so that no plan is refused
	// before its data can be looked at.
	dest := outside.dir
	present := treetest.New(t)
	if _, err := seed.Folder(t.Context(), h.dir, present, dest, seed.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"/d/canary", "/d/deeper/3", "/f"} { // so that these are read every time
		h.must(present.Remove(dest + gone))
	}
	sums := &seed.Sums{}
	sums.SetClock(hourAhead)
	plan := func() *seed.Plan {
		s, err := seed.Open(h.dir)
		h.must(err)
		defer s.Close()
		p, err := s.Plan(t.Context(), seed.Present{Tree: present}, dest, seed.Options{Sums: sums})
		h.must(err)
		return p
	}
	plan().Close()
	var stop atomic.Bool
	done := make(chan int)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			for _, pair := range [][2]string{{"d", "dlink"}, {"f", "flink"}} {
				unix.Renameat2(unix.AT_FDCWD, h.path(pair[0]), unix.AT_FDCWD, h.path(pair[1]), unix.RENAME_EXCHANGE)
			}
		}
		done <- n
	}()
	links := 0
	for range 300 {
		p := plan()
		var b bytes.Buffer
		h.must(p.Changes.WriteTar(t.Context(), &b))
		if bytes.Contains(b.Bytes(), []byte("CANARY")) {
			t.Fatal("something was read from outside")
		}
		for _, e := range p.Changes.Entries {
			if e.Path == "d" && e.Status == seed.TypeChanged {
				links++
			}
		}
		h.must(p.Close())
	}
	stop.Store(true)
	t.Logf("%d swaps; the folder was seen as a link in %d of 300 plans", <-done, links)
}
