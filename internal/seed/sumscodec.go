package seed

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"pyro/api"
)

// The stored form of Sums, all numbers little endian:
//
//	8 bytes   "pyrosum1"
//	4 bytes   length of the image's ID, then the ID
//	4 bytes   count, then so many files of the host:
//	          device, inode, size, mtime, ctime, place in the image (8 bytes each);
//	          32 bytes of sum where the place is -1
//	4 bytes   count, then so many places in the image:
//	          offset, size (8 bytes each), 32 bytes of sum
//	32 bytes  SHA-256 of all before
const (
	sumsMagic  = "pyrosum1"
	maxImageID = 4 << 10
)

var le = binary.LittleEndian

// MarshalBinary returns a form for UnmarshalBinary. What [Sums.Learn] still waits
// for is not in it.
func (s *Sums) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	f := s.facts
	s.mu.Unlock()
	if len(f.image) > maxImageID {
		return nil, api.Errorf(api.KindInternal, "the ID of an image has %d bytes, %d is the most", len(f.image), maxImageID)
	}
	b := make([]byte, 0, 100+len(f.image)+80*len(f.host)+48*len(f.data))
	b = append(b, sumsMagic...)
	b = le.AppendUint32(b, uint32(len(f.image)))
	b = append(b, f.image...)
	b = le.AppendUint32(b, uint32(len(f.host)))
	for id, c := range f.host {
		for _, v := range []uint64{id.dev, id.ino, uint64(c.stamp.size), uint64(c.stamp.mtime), uint64(c.stamp.ctime), uint64(c.at)} {
			b = le.AppendUint64(b, v)
		}
		if c.at < 0 {
			b = append(b, c.sum[:]...)
		}
	}
	b = le.AppendUint32(b, uint32(len(f.data)))
	for e, sum := range f.data {
		b = le.AppendUint64(b, uint64(e.off))
		b = le.AppendUint64(b, uint64(e.size))
		b = append(b, sum[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// UnmarshalBinary replaces what s holds with what MarshalBinary returned. Anything
// else is an error of KindVerification, which leaves s as it was.
func (s *Sums) UnmarshalBinary(b []byte) error {
	f, ok := decodeFacts(b)
	if !ok {
		return api.Errorf(api.KindVerification, "the stored sums of files are damaged").
			WithHint("nothing is lost: begin with empty ones")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts = f
	return nil
}

func decodeFacts(b []byte) (f facts, ok bool) {
	cut := len(b) - sha256.Size
	if cut < len(sumsMagic) || !bytes.HasPrefix(b, []byte(sumsMagic)) {
		return f, false
	}
	if sum := sha256.Sum256(b[:cut]); !bytes.Equal(sum[:], b[cut:]) {
		return f, false
	}
	d := &decoder{b: b[len(sumsMagic):cut]}
	f.image = string(d.take(d.count(maxImageID, 1)))
	hosts := d.count(maxSums, 6*8)
	f.host = make(map[fileID]content, hosts)
	for range hosts {
		id := fileID{d.uint64(), d.uint64()}
		c := content{stamp: stamp{d.int64(), d.int64(), d.int64()}, at: d.int64()}
		if c.at < 0 {
			copy(c.sum[:], d.take(sha256.Size))
		}
		d.bad = d.bad || c.at < -1 || c.stamp.size < 0
		f.host[id] = c
	}
	places := d.count(maxSums, 2*8+sha256.Size)
	f.data = make(map[extent]Sum, places)
	for range places {
		e := extent{d.int64(), d.int64()}
		d.bad = d.bad || e.off < 0 || e.size < 0
		f.data[e] = Sum(d.take(sha256.Size))
	}
	return f, !d.bad && len(d.b) == 0
}

// decoder takes fields off b. After the end it yields zeros and is bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return make([]byte, n)
	}
	field := d.b[:n]
	d.b = d.b[n:]
	return field
}

// count takes the count of what follows, each at least size bytes long.
func (d *decoder) count(most, size int) int {
	n := int(le.Uint32(d.take(4)))
	if d.bad || n > most || n > len(d.b)/size {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) uint64() uint64 { return le.Uint64(d.take(8)) }

func (d *decoder) int64() int64 { return int64(d.uint64()) }
