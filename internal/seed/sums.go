package seed

import (
	"crypto/sha256"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/tree"
)

const (
	// timeGrain is how far apart two changes may be and still get the same time:
	// two seconds on FAT, a few milliseconds elsewhere.
	timeGrain = 2 * time.Second
	// maxSums bounds the records of each kind; what is beyond is read every time.
	maxSums = DefaultEntries
	// idleSums is up to how many records stay of files that the newest plan did
	// not meet: deleted ones, and those of other sources.
	idleSums = 1 << 18
)

// Sum is the SHA-256 of a file's bytes.
type Sum [sha256.Size]byte

// Image is a file whose bytes never change, such as the EROFS image that a
// workspace begins with. The zero value is none.
type Image struct {
	// ID tells it from every other image that the same Sums may meet.
	ID string
	// Data is the file; nodes of a tree that read from this very value are known
	// to be the image's. Its type is comparable, as *os.File is.
	Data io.ReaderAt
}

// Sums remembers contents, so that a plan need not read what it has read before:
// of a file of the host by its identity, size and times, of data of an image by
// its place there. It is to plans what the index is to git, and doubts what git
// doubts: a file that was changed so shortly before it was read that a later
// change may have the same times is not remembered. Both times count, and no
// program sets a file's change time at will, so that restoring the other one
// hides nothing. What remains is a program that writes to a file without a new
// time: to one that it keeps mapped into its memory, until the host has written
// that back, or by a single write that takes longer than the doubt.
//
// The zero value is empty and ready. It may be used by several goroutines, and
// be stored with encoding/gob or by its own MarshalBinary: it is a cache, and
// without it everything is read again.
type Sums struct {
	mu    sync.Mutex // guards what follows
	facts facts
	read  []reading // what Read took from the host, until Learn

	clock func() time.Time // of a test; nil is the host's
}

// facts are what is known. The maps are replaced, never changed, so that a plan
// can use those it began with and no goroutine waits for another.
type facts struct {
	image string // the one that host and data speak of
	host  map[fileID]content
	data  map[extent]Sum
}

// stamp is what changes of a file of the host when its bytes do. Its mode is no
// part of it, because that is compared whenever a file is met.
type stamp struct{ size, mtime, ctime int64 } // times in nanoseconds since 1970

// extent is a place in the image.
type extent struct{ off, size int64 }

// content is what a file of the host held when it had a stamp.
type content struct {
	stamp stamp
	// at is where the image has the same bytes; below zero, sum tells them instead.
	at  int64
	sum Sum
}

// reading is a file of the host that was read while it stood still.
type reading struct {
	id    fileID
	stamp stamp
	path  string // in the tree that it was read into
	sum   *Sum   // nil if nobody needed it
}

func idOf(info *unix.Stat_t) fileID { return fileID{info.Dev, info.Ino} }

func stampOf(info *unix.Stat_t) stamp {
	return stamp{info.Size, info.Mtim.Nano(), info.Ctim.Nano()}
}

func (s *Sums) now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now()
}

// settled says whether a change after the time seen must give the file other
// times than info has.
func settled(info *unix.Stat_t, seen time.Time) bool {
	return max(info.Mtim.Sec, info.Ctim.Sec) < seen.Add(-timeGrain).Unix()
}

// about returns what is known and does not speak of another image.
func (s *Sums) about(image Image) facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.facts.about(image)
}

func (f facts) about(image Image) facts {
	if f.image == image.ID && image.Data != nil || f.image == "" {
		return f
	}
	other := facts{image: image.ID, host: make(map[fileID]content, len(f.host))}
	for id, c := range f.host {
		if c.at < 0 {
			other.host[id] = c
		}
	}
	return other
}

// Learn connects the files of the host that the last [Source.Read] with s took
// with their data in the image, so that a plan knows without any reading which
// of them the guest still holds. t is the image as a tree, as it was loaded. It
// costs a look at each file's place, not at its bytes. Learning nothing, or
// nothing in time, only makes plans slower.
func (s *Sums) Learn(image Image, t *tree.Tree) {
	s.mu.Lock()
	read := s.read
	s.read = nil
	s.mu.Unlock()
	host := map[fileID]content{}
	for _, r := range read {
		n, err := t.Lookup(r.path)
		if err != nil || n.Size != r.stamp.size {
			continue
		}
		if src, off := n.Data(); src != nil && src == image.Data {
			host[r.id] = content{stamp: r.stamp, at: off}
		}
	}
	s.add(image, host, nil, nil)
}

// remember keeps what a Read took for Learn.
func (s *Sums) remember(read []reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = read
}

// add adds to what is known. With another image, what was known by way of the
// old one is forgotten. met are the files whose records are in use.
func (s *Sums) add(image Image, host map[fileID]content, data map[extent]Sum, met []fileID) {
	if len(host)+len(data) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if image.Data != nil {
		s.facts = s.facts.about(image)
		s.facts.image = image.ID
	}
	old := s.facts.host
	if len(old)+len(host) > idleSums {
		old = only(old, met)
	}
	s.facts.host = merged(old, host)
	s.facts.data = merged(s.facts.data, data)
}

// only returns the records of the files met.
func only(all map[fileID]content, met []fileID) map[fileID]content {
	some := make(map[fileID]content, min(len(met), len(all)))
	for _, id := range met {
		if c, ok := all[id]; ok {
			some[id] = c
		}
	}
	return some
}

// merged returns a map of both, bounded; what is new comes first.
func merged[K comparable, V any](old, add map[K]V) map[K]V {
	if len(add) == 0 {
		return old
	}
	all := make(map[K]V, min(len(old)+len(add), maxSums))
	for _, from := range []map[K]V{add, old} {
		for k, v := range from {
			if _, ok := all[k]; !ok && len(all) < maxSums {
				all[k] = v
			}
		}
	}
	return all
}
