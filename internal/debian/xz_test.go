package debian

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"testing"
)

// storedXZ returns data as an .xz file of one block without compression; the
// format is described in https://tukaani.org/xz/xz-file-format.txt.
func storedXZ(data []byte) []byte {
	const crc32Check = "\x00\x01"
	var b bytes.Buffer
	sealed := func(p []byte) []byte { return binary.LittleEndian.AppendUint32(p, crc32.ChecksumIEEE(p)) }
	b.WriteString("\xfd7zXZ\x00" + crc32Check)
	b.Write(sealed([]byte(crc32Check))[2:])
	header := sealed([]byte{2, 0, 0x21, 1, 0x08, 0, 0, 0}) // LZMA2, dictionary of 64 KiB
	b.Write(header)
	begin := b.Len()
	control := byte(1) // the first chunk resets the dictionary
	for rest := data; len(rest) > 0; control = 2 {
		n := min(len(rest), 1<<16)
		b.Write([]byte{control, byte((n - 1) >> 8), byte(n - 1)})
		b.Write(rest[:n])
		rest = rest[n:]
	}
	b.WriteByte(0)
	unpadded := len(header) + b.Len() - begin + 4
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
	b.Write(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
	index := binary.AppendUvarint(binary.AppendUvarint([]byte{0, 1}, uint64(unpadded)), uint64(len(data)))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = sealed(index)
	b.Write(index)
	footer := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), crc32Check...)
	b.Write(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(footer)))
	b.Write(footer)
	b.WriteString("YZ")
	return b.Bytes()
}

// realXZ is what xz made of 1,000 lines "hello, xz\n".
const realXZ = "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4CcPADZdADQZSe6N74xr7Teucmm8pjMIXYumwQe3xZ3v0uEiYo2Cp3xmufzE8972DKDVyx6Fs5zRK4ycAAAAANdTXvAyiv5EAAFSkE4AAAA/dd4oscRn+wIAAAAABFla"

func TestXZ(t *testing.T) {
	file, err := base64.StdEncoding.DecodeString(realXZ)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"compressed":   {file, strings.Repeat("hello, xz\n", 1000)},
		"stored":       {storedXZ([]byte(strings.Repeat("0123456789", 20000))), strings.Repeat("0123456789", 20000)},
		"concatenated": {append(storedXZ([]byte("a")), storedXZ([]byte("b"))...), "ab"},
		"empty":        {storedXZ(nil), ""},
	} {
		r, err := decompress(bytes.NewReader(c.file), ".xz", 1<<20)
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestDecompressIsBounded meets bombs of data and of memory.
func TestDecompressIsBounded(t *testing.T) {
	big := make([]byte, 1<<20)
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		r, err := decompress(bytes.NewReader(compress(t, suffix, big)), suffix, int64(len(big))-1)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err == nil || n > int64(len(big))-1 {
			t.Errorf("%q: %d bytes, %v", suffix, n, err)
		}
		r, err = decompress(bytes.NewReader(compress(t, suffix, big)), suffix, int64(len(big)))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(big)) {
			t.Errorf("%q: %d bytes, %v", suffix, n, err)
		}
	}
	bomb := storedXZ([]byte("x"))
	header := []byte{2, 0, 0x21, 1, 40, 0, 0, 0} // a dictionary of 4 GiB
	copy(bomb[12:], binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(header)))
	r, err := decompress(bytes.NewReader(bomb), ".xz", 1<<20)
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err == nil || !strings.Contains(err.Error(), "dictionary") {
		t.Errorf("a huge dictionary: %v", err)
	}
}
