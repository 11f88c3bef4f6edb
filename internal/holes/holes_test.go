package holes_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/holes"
)

// entry is the file as an entry, as its header and its payload.
func entry(t testing.TB, m holes.Map, data string) (*tar.Header, []byte) {
	t.Helper()
	var tarred, payload bytes.Buffer
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "f", Format: tar.FormatPAX}
	m.Mark(h)
	w := tar.NewWriter(&tarred)
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(io.MultiWriter(w, &payload)); err != nil {
		t.Fatal(err)
	}
	payload.WriteString(data)
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal("the entry has another size:", err)
	}
	h, err := tar.NewReader(&tarred).Next()
	if err != nil {
		t.Fatal(err)
	}
	return h, payload.Bytes()
}

func TestFile(t *testing.T) {
	many := holes.Map{Size: 3000}
	for i := range int64(1000) { // more than are read at once
		many.Pieces = append(many.Pieces, holes.Piece{Offset: 3 * i, Size: 2})
	}
	for name, c := range map[string]struct {
		m          holes.Map
		data, want string
	}{
		"nothing":  {holes.Map{}, "", ""},
		"a hole":   {holes.Map{Size: 3}, "", "\x00\x00\x00"},
		"in front": {holes.Map{Size: 4, Pieces: []holes.Piece{{2, 2}}}, "ab", "\x00\x00ab"},
		"inside":   {holes.Map{Size: 5, Pieces: []holes.Piece{{0, 2}, {4, 1}}}, "abc", "ab\x00\x00c"},
		"behind":   {holes.Map{Size: 4, Pieces: []holes.Piece{{0, 2}}}, "ab", "ab\x00\x00"},
		"none":     {holes.Map{Size: 3, Pieces: []holes.Piece{{0, 1}, {1, 2}}}, "abc", "abc"},
		"many":     {many, strings.Repeat("ab", 1000), strings.Repeat("ab\x00", 1000)},
	} {
		h, payload := entry(t, c.m, c.data)
		got, ok, err := holes.Read(h, iotest.OneByteReader(bytes.NewReader(payload)), holes.MaxPieces)
		if err != nil || !ok || got.Size != c.m.Size || len(got.Pieces) != len(c.m.Pieces) {
			t.Fatalf("%s: %v, %v, %v", name, got, ok, err)
		}
		const before = "what precedes it"
		src := strings.NewReader(before + string(payload))
		f := holes.NewFile(got, src, int64(len(before)+len(payload)-len(c.data)))
		if err := iotest.TestReader(io.NewSectionReader(f, 0, c.m.Size), []byte(c.want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if m := got; m.Zeros() != int64(len(c.want)-len(c.data)) {
			t.Errorf("%s: %d zeros", name, m.Zeros())
		}
		expanded := got.Expand(strings.NewReader(c.data))
		if b, err := io.ReadAll(iotest.OneByteReader(expanded)); err != nil || string(b) != c.want {
			t.Errorf("%s: expanded to %q, %v", name, b, err)
		}
		used := []byte(strings.Repeat("x", len(c.want)+1)) // holes are written too
		if n, err := f.ReadAt(used, 0); n != len(c.want) || err != io.EOF || string(used[:n]) != c.want {
			t.Errorf("%s: %q, %v", name, used[:n], err)
		}
	}
}

func TestNextData(t *testing.T) {
	f := holes.NewFile(holes.Map{Size: 10, Pieces: []holes.Piece{{2, 2}, {4, 1}, {8, 1}}}, nil, 0)
	got := [][2]int64{}
	for off := range int64(11) {
		start, end := f.NextData(off)
		got = append(got, [2]int64{start, end})
	}
	want := [][2]int64{{2, 4}, {2, 4}, {2, 4}, {3, 4}, {4, 5}, {8, 9}, {8, 9}, {8, 9}, {8, 9}, {10, 10}, {10, 10}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestFileIsCut: what is missing is an error and no zeros.
func TestFileIsCut(t *testing.T) {
	m := holes.Map{Size: 8, Pieces: []holes.Piece{{2, 4}}}
	f := holes.NewFile(m, strings.NewReader("ab"), 0)
	for name, r := range map[string]io.Reader{"placed": io.NewSectionReader(f, 0, 8), "expanded": m.Expand(strings.NewReader("ab"))} {
		if b, err := io.ReadAll(r); err != io.ErrUnexpectedEOF || string(b) != "\x00\x00ab" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// numbers are a payload.
func numbers(n ...uint64) []byte {
	var b []byte
	for _, v := range n {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func TestReadRefuses(t *testing.T) {
	const most = 1 << 63
	for name, c := range map[string]struct {
		size    string
		payload []byte
	}{
		"no size":            {"", numbers(0)},
		"a negative size":    {"-1", numbers(0)},
		"a size beyond all":  {"9223372036854775808", numbers(0)},
		"no payload":         {"1", nil},
		"half a count":       {"1", numbers(0)[:4]},
		"fewer than it says": {"9", numbers(2, 0, 0)},
		"more than allowed":  {"9", numbers(4, 0, 0, 0, 0, 0, 0, 0, 0)},
		"a count beyond all": {"9", numbers(most, 0, 1)},
		"an empty piece":     {"9", numbers(1, 0, 0)},
		"behind the end":     {"9", numbers(1, 10, 1)},
		"over the end":       {"9", numbers(1, 8, 2)},
		"a size that wraps":  {"9", numbers(1, 8, most*2-8)},
		"an offset that is":  {"9", numbers(1, most, 1)},
		"out of order":       {"9", append(numbers(2, 5, 1, 3, 1), "ab"...)},
		"overlapping":        {"9", append(numbers(2, 0, 2, 1, 2), "abcd"...)},
		"data of nothing":    {"9", append(numbers(1, 0, 1), "ab"...)},
		"no data":            {"9", numbers(1, 0, 1)},
	} {
		h := &tar.Header{Typeflag: tar.TypeReg, Size: int64(len(c.payload)), PAXRecords: map[string]string{holes.Record: c.size}}
		if m, ok, err := holes.Read(h, bytes.NewReader(c.payload), 3); err == nil || !ok {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	for _, h := range []*tar.Header{{Typeflag: tar.TypeGNUSparse}, {Typeflag: tar.TypeReg, PAXRecords: map[string]string{"GNU.sparse.major": "1"}}} {
		if _, _, err := holes.Read(h, nil, 3); err == nil {
			t.Errorf("accepted: %+v", h)
		}
	}
	h := &tar.Header{Typeflag: tar.TypeDir, PAXRecords: map[string]string{holes.Record: "0"}}
	if _, ok, err := holes.Read(h, bytes.NewReader(numbers(0)), 3); err == nil || !ok {
		t.Error("a folder with holes was accepted")
	}
	if m, ok, err := holes.Read(&tar.Header{Typeflag: tar.TypeReg, Size: 9}, nil, 3); err != nil || ok {
		t.Errorf("a plain file: %v, %v, %v", m, ok, err)
	}
}

// FuzzRead: whatever is accepted can be read and written again, and its pieces lie
// in the file, one behind the other.
func FuzzRead(f *testing.F) {
	f.Add("9", append(numbers(2, 0, 2, 4, 1), "abc"...))
	f.Add("1099511627776", append(numbers(1, 1<<39, 4), "data"...))
	f.Add("0", numbers(0))
	f.Fuzz(func(t *testing.T, size string, payload []byte) {
		h := &tar.Header{Typeflag: tar.TypeReg, Size: int64(len(payload)), PAXRecords: map[string]string{holes.Record: size}}
		r := bytes.NewReader(payload)
		m, _, err := holes.Read(h, r, 1000)
		if err != nil {
			return
		}
		end := int64(0)
		for _, p := range m.Pieces {
			if p.Offset < end || p.Size <= 0 || p.End() > m.Size {
				t.Fatalf("pieces %v in %d bytes", m.Pieces, m.Size)
			}
			end = p.End()
		}
		var again bytes.Buffer
		if err := m.Write(&again); err != nil || !bytes.HasPrefix(payload, again.Bytes()) || again.Len() != len(payload)-r.Len() {
			t.Fatalf("%v is written differently: %v", m, err)
		}
		file := holes.NewFile(m, bytes.NewReader(payload), int64(again.Len()))
		for off := int64(0); off < m.Size; {
			start, stop := file.NextData(off)
			if start < off || stop < start || start == stop && start != m.Size {
				t.Fatalf("after %d there is data from %d to %d", off, start, stop)
			}
			if _, err := io.Copy(io.Discard, io.NewSectionReader(file, start, stop-start)); err != nil {
				t.Fatal(err)
			}
			off = stop
		}
	})
}
