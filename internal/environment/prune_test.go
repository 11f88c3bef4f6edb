package environment

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func types(r api.PruneResult) []string {
	var out []string
	for _, i := range r.Removed {
		out = append(out, i.Type)
	}
	slices.Sort(out)
	return out
}

func TestPrune(t *testing.T) {
	reg := serveImages(t)
	m := newManager(t, nil)
	a, b := reg.add(t, "a", layerOf(t, "f", noise(50_000))), reg.add(t, "b", layerOf(t, "f", "b"))
	for _, name := range []string{a, b} {
		_, err := m.Pull(t.Context(), name, nil)
		check(t, err)
	}
	// Without all: the downloads.
	res, err := m.Prune(t.Context(), false)
	check(t, err)
	if diff := cmp.Diff([]string{"blob", "blob"}, types(res)); diff != "" || res.BytesFreed < 50_000 {
		t.Errorf("freed %d: %s", res.BytesFreed, diff)
	}
	// All, while a is in use.
	used, err := m.Acquire(t.Context(), a)
	check(t, err)
	res, err = m.Prune(t.Context(), true)
	check(t, err)
	if diff := cmp.Diff([]string{"environment", "image"}, types(res)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(used.Path); err != nil {
		t.Errorf("the image in use: %v", err)
	}
	wantKind(t, m.Remove(t.Context(), a), api.KindConflict, "in use")
	_, err = m.Acquire(t.Context(), b)
	wantKind(t, err, api.KindNotInstalled)
	used.Release()
	used.Release() // harmless
	check(t, m.Remove(t.Context(), a))
	wantKind(t, m.Remove(t.Context(), a), api.KindNotInstalled)
	if dirs, err := os.ReadDir(m.cache.images()); err != nil || len(dirs) != 0 {
		t.Errorf("images left: %v, %v", dirs, err)
	}
	emptyTmp(t, m)
}

// Two environments that are the same image: it goes with the last of them.
func TestSharedImage(t *testing.T) {
	reg := serveImages(t)
	m := newManager(t, nil)
	layer := layerOf(t, "f", "same")
	a, b := reg.add(t, "a", layer), reg.add(t, "b", layer)
	for _, name := range []string{a, b} {
		_, err := m.Pull(t.Context(), name, nil)
		check(t, err)
	}
	check(t, m.Remove(t.Context(), a))
	env, err := m.Inspect(t.Context(), b, true)
	check(t, err)
	check(t, m.Remove(t.Context(), b))
	if _, err := os.Stat(env.Path); !os.IsNotExist(err) {
		t.Errorf("image still there: %v", err)
	}
}

// An image that a sandbox uses outlives its environment, until it is released.
func TestImageInUseWithoutRecord(t *testing.T) {
	reg := serveImages(t)
	m := newManager(t, nil)
	env, err := m.Pull(t.Context(), reg.add(t, "a", layerOf(t, "f", "x")), nil)
	check(t, err)
	img, err := m.AcquireDigest(t.Context(), env.Digest)
	check(t, err)
	check(t, os.Remove(m.cache.record(env.Name, "amd64")))
	if res, err := m.Prune(t.Context(), true); err != nil || slices.Contains(types(res), "image") {
		t.Errorf("removed %v, %v", res.Removed, err)
	}
	img.Release()
	if res, err := m.Prune(t.Context(), false); err != nil || !slices.Contains(types(res), "image") {
		t.Errorf("removed %v, %v", res.Removed, err)
	}
}

func TestSweep(t *testing.T) {
	m := newManager(t, nil)
	alive, err := m.cache.newJob()
	check(t, err)
	dead, err := m.cache.newJob()
	check(t, err)
	check(t, os.WriteFile(dead.path("big"), make([]byte, 100_000), 0o600))
	dead.lock.Close() // what the kernel does when its process is killed
	young, old := filepath.Join(m.cache.tmp(), "young"), filepath.Join(m.cache.tmp(), "old")
	for _, p := range []string{young, old} {
		check(t, os.WriteFile(p, nil, 0o600))
	}
	past := time.Now().Add(-2 * staleAfter)
	check(t, os.Chtimes(old, past, past))
	check(t, os.Chtimes(alive.dir, past, past)) // old, but somebody works on it
	res, err := m.Prune(t.Context(), false)
	check(t, err)
	var got []string
	for _, i := range res.Removed {
		got = append(got, i.Name)
	}
	slices.Sort(got)
	want := []string{filepath.Base(dead.dir), "old"}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || res.BytesFreed < 100_000 {
		t.Errorf("freed %d: %s", res.BytesFreed, diff)
	}
	alive.end()
}

// A process may be killed before its folder has a lock; the folder is not left
// behind for that. One that is about to lock it makes another instead.
func TestSweepWithoutLock(t *testing.T) {
	m := newManager(t, nil)
	check(t, os.Mkdir(filepath.Join(m.cache.tmp(), "job-1"), 0o700))
	check(t, os.Mkdir(filepath.Join(m.cache.tmp(), trashPrefix+"job-2"), 0o700))
	if got := m.cache.sweep(); len(got) != 2 {
		t.Errorf("removed %v", got)
	}
	emptyTmp(t, m)
}

// Jobs that begin while others sweep are never taken away.
func TestJobsSurviveSweeps(t *testing.T) {
	m := newManager(t, nil)
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					m.cache.sweep()
				}
			}
		})
	}
	for range 300 {
		j, err := m.cache.newJob()
		check(t, err)
		check(t, os.WriteFile(j.path("work"), []byte("x"), 0o600))
		if _, err := os.ReadFile(j.path("work")); err != nil {
			t.Errorf("the folder of a job was taken away: %v", err)
		}
		j.end()
	}
	close(done)
	group.Wait()
	m.cache.sweep()
	emptyTmp(t, m)
}
