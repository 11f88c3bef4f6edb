package seed_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"

	"pyro/api"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// TestSumsOfAnotherImage: what is known by way of an image is of no use with
// another one, and does no harm.
func TestSumsOfAnotherImage(t *testing.T) {
	h := newHost(t)
	h.file("f", "one")
	w := newWorkspace(t, h.dir)
	other := newHost(t)
	other.file("f", "two") // at the same place of an image of the same form
	v := newWorkspace(t, other.dir)
	v.image.ID = "other"
	v.sums = w.sums
	for range 2 { // the second by sums that the first learned
		if got := changes(v.plan(h.dir, "/workspace")); !slices.Equal(got, []string{"modified f"}) {
			t.Errorf("got %q", got)
		}
	}
	if got := changes(v.plan(other.dir, "/workspace")); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if got := changes(w.plan(h.dir, "/workspace")); len(got) != 0 {
		t.Errorf("back at the first image: %q", got)
	}
}

// TestLearnOnlyWhatIsTheImages: a tree that is not the image, or not what was
// read, teaches nothing.
func TestLearnOnlyWhatIsTheImages(t *testing.T) {
	h := newHost(t)
	for _, name := range []string{"right", "longer", "gone", "copied", "victim"} {
		h.file(name, name)
	}
	w := newWorkspace(t, h.dir)
	s := w.open(h.dir)
	defer s.Close()
	w.sums = &seed.Sums{}
	w.sums.SetClock(hourAhead)
	if _, err := s.Read(t.Context(), w.load(), "/workspace", seed.Options{Root: "/workspace", Sums: w.sums}); err != nil {
		t.Fatal(err)
	}
	put := func(name string, size int64, src io.ReaderAt) {
		_, off := step(w.tree, "/victim").Data()
		h.must(w.tree.PutData(name, &tree.Node{Mode: 0o644, Size: size}, src, off))
	}
	put("/longer", 7, w.image.Data)
	put("/copied", 6, zeroes{})
	w.remove("/gone")
	w.sums.Learn(w.image, w.tree)

	w.tree = w.load()
	put("/longer", 6, w.image.Data) // what a wrong lesson would take them for
	put("/copied", 6, w.image.Data)
	var got []string
	opened := h.opened(".", func() { got = changes(w.plan(h.dir, "/workspace")) })
	if !slices.Equal(opened, []string{"copied", "gone", "longer"}) {
		t.Errorf("opened %q", opened)
	}
	if !slices.Equal(got, []string{"modified copied", "modified longer"}) {
		t.Errorf("got %q", got)
	}
}

type zeroes struct{}

func (zeroes) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// TestSumsTogether plans from several goroutines with the same sums.
func TestSumsTogether(t *testing.T) {
	h := newHost(t)
	for i := range 50 {
		h.file(fmt.Sprintf("%d/f", i), fmt.Sprint(i))
	}
	w := newWorkspace(t, h.dir)
	for i := range 25 {
		w.put(fmt.Sprintf("/%d/f", i), &tree.Node{Mode: 0o644}, fmt.Sprint(i+1))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := seed.Open(h.dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			p, err := s.Plan(t.Context(), seed.Present{Tree: w.tree, Image: w.image}, "/workspace", seed.Options{Root: "/workspace", Sums: w.sums})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			// 9 becomes 10, of another size; the others are of the same.
			if len(p.Changes.Entries) != 25 {
				t.Errorf("%d changes", len(p.Changes.Entries))
			}
			if _, err := w.sums.MarshalBinary(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSumsDamaged(t *testing.T) {
	h := newHost(t)
	h.file("f", "one")
	w := newWorkspace(t, h.dir)
	w.put("/f", &tree.Node{Mode: 0o644}, "two") // teaches sums of both sides
	w.plan(h.dir, "/workspace")
	whole, err := w.sums.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		for _, b := range [][]byte{whole[:n], flipped} {
			if err := w.sums.UnmarshalBinary(b); api.KindOf(err) != api.KindVerification {
				t.Fatalf("at %d: got %v", n, err)
			}
		}
	}
	if again, err := w.sums.MarshalBinary(); err != nil || !bytes.Equal(again, whole) {
		t.Errorf("the sums changed: %v", err)
	}
}

// FuzzSums feeds bytes under a right checksum. What is taken must be as
// MarshalBinary writes it.
func FuzzSums(f *testing.F) {
	h := newHost(f)
	h.file("f", "one")
	h.file("g", "one")
	w := newWorkspace(f, h.dir)
	w.put("/f", &tree.Node{Mode: 0o644}, "two")
	w.plan(h.dir, "/workspace")
	for _, s := range []*seed.Sums{w.sums, {}} {
		b, err := s.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b)
		var s, again seed.Sums
		err := s.UnmarshalBinary(append(bytes.Clone(b), sum[:]...))
		if err != nil {
			if api.KindOf(err) != api.KindVerification {
				t.Fatal(err)
			}
			return
		}
		form, err := s.MarshalBinary()
		if err == nil {
			err = again.UnmarshalBinary(form)
		}
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.MarshalBinary(); err != nil || len(second) != len(form) {
			t.Fatalf("%d bytes, then %d: %v", len(form), len(second), err)
		}
	})
}

// BenchmarkPlan is what a second push of 10,000 files of 128 MB costs here when
// 10 of them changed.
func BenchmarkPlan(b *testing.B) {
	const files, size = 10_000, 128 << 20 / 10_000
	seeded := func(b *testing.B) (host, *workspace) {
		h := project(b, files, size)
		w := newWorkspace(b, h.dir)
		h.tick()
		for i := range 10 {
			p := fmt.Sprintf("src/%d/0/%d", i, i)
			h.must(os.WriteFile(h.path(p), bytes.Repeat([]byte("!"), size), 0o644))
		}
		return h, w
	}
	run := func(b *testing.B, h host, w *workspace, want int) {
		s := w.open(h.dir)
		defer s.Close()
		p, err := s.Plan(b.Context(), seed.Present{Tree: w.tree, Image: w.image}, "/workspace", seed.Options{Root: "/workspace", Sums: w.sums})
		if err == nil {
			err = p.Changes.WriteTar(b.Context(), io.Discard)
		}
		if err != nil || len(p.Changes.Entries) != want {
			b.Fatalf("%d changes, %v", len(p.Changes.Entries), err)
		}
		h.must(p.Close())
	}
	b.Run("known", func(b *testing.B) { // as after create
		h, w := seeded(b)
		stored, err := w.sums.MarshalBinary()
		h.must(err)
		for b.Loop() {
			b.StopTimer() // the sums of a moment before
			w.sums = &seed.Sums{}
			w.sums.SetClock(hourAhead)
			h.must(w.sums.UnmarshalBinary(stored))
			b.StartTimer()
			run(b, h, w, 10)
		}
	})
	b.Run("repeated", func(b *testing.B) { // nothing is learned any more
		h, w := seeded(b)
		for b.Loop() {
			run(b, h, w, 10)
		}
	})
	b.Run("pushed", func(b *testing.B) { // the guest's files are not the image's
		h, w := seeded(b)
		w.image = seed.Image{}
		for b.Loop() {
			run(b, h, w, 10)
		}
	})
	b.Run("unknown", func(b *testing.B) { // the sums were lost
		h, w := seeded(b)
		for b.Loop() {
			w.sums = &seed.Sums{}
			w.sums.SetClock(hourAhead)
			run(b, h, w, 10)
		}
	})
	b.Run("first", func(b *testing.B) {
		h := project(b, files, size)
		w := newWorkspace(b, "")
		for b.Loop() {
			run(b, h, w, files+211)
		}
	})
}

// BenchmarkRead is what teaching sums adds to the reading of a seed.
func BenchmarkRead(b *testing.B) {
	h := project(b, 10_000, 128<<20/10_000)
	for _, taught := range []bool{false, true} {
		b.Run(fmt.Sprintf("taught=%t", taught), func(b *testing.B) {
			for b.Loop() {
				s, err := seed.Open(h.dir)
				h.must(err)
				t, err := tree.New(os.TempDir())
				h.must(err)
				o := seed.Options{Root: "/workspace"}
				if taught {
					o.Sums = &seed.Sums{}
					o.Sums.SetClock(hourAhead)
				}
				_, err = s.Read(b.Context(), t, "/workspace", o)
				h.must(err)
				h.must(t.Close())
				h.must(s.Close())
			}
		})
	}
	b.Run("learn", func(b *testing.B) {
		w := newWorkspace(b, h.dir)
		for b.Loop() {
			b.StopTimer()
			s := w.open(h.dir)
			_, err := s.Read(b.Context(), treetest.New(b), "/workspace", seed.Options{Root: "/workspace", Sums: w.sums})
			h.must(err)
			h.must(s.Close())
			b.StartTimer()
			w.sums.Learn(w.image, w.tree)
		}
	})
}
