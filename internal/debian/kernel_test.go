package debian

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"pyro/api"
)

// module makes the smallest ELF file with a section .modinfo.
func module(depends string) string {
	names := "\x00.modinfo\x00.shstrtab\x00"
	info := "license=GPL\x00depends=" + depends + "\x00name=x\x00"
	const header, entry = 64, 64
	le := binary.LittleEndian
	b := make([]byte, header, 4096)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 1)  // relocatable
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint16(b[52:], header)
	le.PutUint16(b[58:], entry)
	le.PutUint16(b[60:], 3) // sections
	le.PutUint16(b[62:], 2) // names
	infoAt := len(b)
	b = append(b, info...)
	namesAt := len(b)
	b = append(b, names...)
	le.PutUint64(b[40:], uint64(len(b)))
	for _, s := range []struct{ name, kind, at, size int }{{}, {1, 1, infoAt, len(info)}, {10, 3, namesAt, len(names)}} {
		h := make([]byte, entry)
		le.PutUint32(h[0:], uint32(s.name))
		le.PutUint32(h[4:], uint32(s.kind))
		le.PutUint64(h[24:], uint64(s.at))
		le.PutUint64(h[32:], uint64(s.size))
		b = append(b, h...)
	}
	return string(b)
}

func kernelArchive(t *testing.T, depends string) *archive {
	a := newArchive(t)
	a.add("bookworm", pkg{name: "linux-image-cloud-amd64", version: "6.1.9", fields: "Depends: " + depends + "\n", data: []tar.Header{dir("")}})
	modules := map[string]string{"virtio": "", "virtio-ring": "", "virtio_blk": "virtio,virtio_ring", "loop-a": "loop_b", "loop-b": "loop_a", "other": ""}
	p := pkg{
		name: "linux-image-6.1.0-9-cloud-amd64", version: "6.1.9",
		data:  []tar.Header{dir(""), dir("/boot"), file("/boot/vmlinuz-6.1.0-9-cloud-amd64", 0o644), file("/boot/config-6.1", 0o644), dir("/lib")},
		files: map[string]string{"./boot/vmlinuz-6.1.0-9-cloud-amd64": "the kernel", "./boot/config-6.1": "x"},
	}
	for name, depends := range modules {
		p.data = append(p.data, file("/lib/"+name+".ko", 0o644))
		p.files["./lib/"+name+".ko"] = module(depends)
	}
	a.add("bookworm", p)
	a.publish("bookworm")
	return a
}

func TestFetchKernel(t *testing.T) {
	a := kernelArchive(t, "linux-image-6.1.0-9-cloud-amd64 (= 6.1.9)")
	k, err := FetchKernel(t.Context(), a.options("linux-image-cloud-amd64"), []string{"virtio-blk", "virtio_ring", "built_in", "loop_a"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range k.Modules {
		names = append(names, m.Name)
	}
	if want := []string{"virtio", "virtio_ring", "virtio_blk", "loop_b", "loop_a"}; !slices.Equal(names, want) {
		t.Errorf("modules %v, want %v", names, want)
	}
	if k.Release != "6.1.0-9-cloud-amd64" || string(k.Image) != "the kernel" || !k.ModTime.Equal(archiveDate) {
		t.Errorf("kernel %q of %q, %s", k.Image, k.Release, k.ModTime)
	}
	if len(k.Lock) != 1 || k.Lock[0].Name != "linux-image-6.1.0-9-cloud-amd64" || len(k.Releases) != 1 {
		t.Errorf("lock %v, releases %v", k.Lock, k.Releases)
	}
}

func TestKernelThatIsNotThere(t *testing.T) {
	for depends, fact := range map[string]string{
		"linux-image-6.1.0-9-cloud-amd64 (= 7)": "depends on no kernel",
		"linux-image-9 | something":             "depends on no kernel",
		"libc6":                                 "depends on no kernel",
	} {
		_, err := FetchKernel(t.Context(), kernelArchive(t, depends).options("linux-image-cloud-amd64"), nil)
		if api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), fact) {
			t.Errorf("%s: %v", depends, err)
		}
	}
	_, err := FetchKernel(t.Context(), kernelArchive(t, "x").options("linux-image-none"), nil)
	if api.KindOf(err) != api.KindNotFound || !strings.Contains(err.Error(), "linux-image-none") {
		t.Errorf("another package: %v", err)
	}
}

func TestAlteredKernel(t *testing.T) {
	a := kernelArchive(t, "linux-image-6.1.0-9-cloud-amd64")
	path := "/debian/pool/linux-image-6.1.0-9-cloud-amd64_6.1.9.deb"
	b := bytes.Clone(a.get(path))
	b[len(b)/2] ^= 1
	a.put(path, b)
	if _, err := FetchKernel(t.Context(), a.options("linux-image-cloud-amd64"), nil); api.KindOf(err) != api.KindVerification {
		t.Errorf("an altered package: %v", err)
	}
}

func FuzzModuleDepends(f *testing.F) {
	f.Add([]byte(module("a,b")))
	f.Add([]byte(module("")))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := moduleDepends(b)
		if err != nil && names != nil {
			t.Errorf("names %v with %v", names, err)
		}
	})
}
