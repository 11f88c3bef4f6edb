package tree_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// entry is one entry of an archive made for a test.
type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}, body}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}}
}

func device(name string, typ byte, major, minor int64) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: typ, Devmajor: major, Devminor: minor}}
}

// pax adds a PAX record to an entry.
func pax(e entry, key, value string) entry {
	e.PAXRecords = map[string]string{key: value}
	return e
}

// archive makes a tar.
func archive(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// rawHeader makes a header as no decent writer would: name and fields of the
// ustar form by their offsets, with a right checksum.
func rawHeader(name string, typ byte, fields map[int]string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	for off, s := range map[int]string{100: "0000644\x00", 108: "0000000\x00", 116: "0000000\x00", 124: "00000000000\x00", 136: "00000000000\x00", 257: "ustar\x0000"} {
		copy(h[off:], s)
	}
	h[156] = typ
	for off, s := range fields {
		copy(h[off:], s)
	}
	copy(h[148:], strings.Repeat(" ", 8))
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

var epoch = time.Unix(0, 0)
