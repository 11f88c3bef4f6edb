package debian

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	"pyro/api"
	"pyro/internal/tree"
)

func TestDebCompressions(t *testing.T) {
	for _, suffix := range []string{".none", ".gz", ".xz", ".zst"} {
		p := pkg{name: "a", version: "1", compression: suffix, data: []tar.Header{file("/x", 0o644)}, files: map[string]string{"./x": "hello"}}
		b := p.deb(t)
		d, err := openDeb(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(suffix, err)
		}
		r, err := d.openData()
		if err != nil {
			t.Fatal(suffix, err)
		}
		data, err := io.ReadAll(r)
		if err != nil || !bytes.Contains(data, []byte("hello")) {
			t.Errorf("%s: %d bytes, %v", suffix, len(data), err)
		}
	}
}

func TestDebRefuses(t *testing.T) {
	control := compress(t, ".gz", tarFile(t, []tar.Header{{Name: "./control"}}, map[string]string{"./control": "Package: a\n"}))
	data := compress(t, ".gz", tarFile(t, nil, nil))
	version := arEntry{"debian-binary", []byte("2.0\n")}
	good := []arEntry{version, {"control.tar.gz", control}, {"data.tar.gz", data}}
	if b := arFile(good...); true {
		if _, err := openDeb(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	controlOf := func(headers []tar.Header, files map[string]string) []byte {
		return arFile(version, arEntry{"control.tar", tarFile(t, headers, files)}, good[2])
	}
	raw := arFile(good...)
	edit := func(off int, s string) []byte {
		b := bytes.Clone(raw)
		copy(b[off:], s)
		return b
	}
	var many []tar.Header
	for i := range maxControlFiles + 1 {
		many = append(many, tar.Header{Name: "./f" + strings.Repeat("x", i)})
	}
	for name, c := range map[string]struct {
		deb  []byte
		want string
	}{
		"empty":               {nil, "not an ar archive"},
		"no ar":               {[]byte("!<arch>x" + strings.Repeat(" ", 200)), "not an ar archive"},
		"header cut off":      {raw[:30], "header is cut off"},
		"data cut off":        {raw[:len(raw)-20], "bytes, "},
		"no end mark":         {edit(8+58, "xx"), "no end mark"},
		"negative size":       {edit(8+48, "-1        "), "its size is"},
		"odd size":            {edit(8+48, "0x4       "), "its size is"},
		"claims too much":     {edit(8+48, "9999999999"), "it claims 9999999999 bytes"},
		"bad padding":         {arPadding(), "padding"},
		"no members":          {arFile(), "it has 0 members"},
		"control first":       {arFile(good[1], good[0], good[2]), "begins with"},
		"data before control": {arFile(good[0], good[2], good[1]), `it has "data.tar.gz" where control.tar must be`},
		"a fourth":            {arFile(append(good[:3:3], arEntry{"x", nil})...), "it has 4 members"},
		"two of data":         {arFile(append(good[:3:3], good[2])...), "it has 4 members"},
		"too many members":    {arFile(make([]arEntry, maxArMembers+1)...), "more than"},
		"version 3":           {arFile(arEntry{"debian-binary", []byte("3.0\n")}, good[1], good[2]), `its format is "3.0"`},
		"long version":        {arFile(arEntry{"debian-binary", make([]byte, 1000)}, good[1], good[2]), "too long"},
		"unknown compression": {arFile(version, arEntry{"control.tar.bz2", control}, good[2]), "unknown compression"},
		"no gzip":             {arFile(version, arEntry{"control.tar.gz", []byte("x")}, good[2]), "control.tar.gz"},
		"no xz":               {arFile(version, arEntry{"control.tar.xz", []byte("x")}, good[2]), "control.tar.xz"},
		"no control":          {controlOf(nil, nil), "no file control"},
		"control is a link":   {controlOf([]tar.Header{{Name: "./control", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}, nil), "no plain file"},
		"control twice":       {controlOf([]tar.Header{{Name: "./control"}, {Name: "control"}}, nil), "twice"},
		"control climbs":      {controlOf([]tar.Header{{Name: "../control"}}, nil), "no plain file"},
		"control in a folder": {controlOf([]tar.Header{{Name: "./x/control"}}, nil), "no plain file"},
		"too many files":      {controlOf(many, nil), "more than"},
		"control bomb": {arFile(version, arEntry{"control.tar.gz", compress(t, ".gz",
			tarFile(t, []tar.Header{{Name: "./control"}}, map[string]string{"./control": strings.Repeat("\x00", maxControl)}))}, good[2]), "unpacks to more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openDeb(bytes.NewReader(c.deb), int64(len(c.deb)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// arPadding has an odd member whose padding is not a newline.
func arPadding() []byte {
	b := arFile(arEntry{"debian-binary", []byte("2.0\n ")}, arEntry{"x", nil})
	b[8+60+5] = 'x'
	return b
}

// TestHostilePackages builds with packages that try to do harm, or that are not
// what the index says.
func TestHostilePackages(t *testing.T) {
	entry := func(h ...tar.Header) pkg { return pkg{name: "evil", version: "1", data: h} }
	for name, c := range map[string]struct {
		pkg  pkg
		want string
	}{
		"climbs":               {entry(tar.Header{Name: "./../../etc/passwd"}), `".." part`},
		"link climbs":          {entry(tar.Header{Name: "./a", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}), `".." part`},
		"link to nothing":      {entry(tar.Header{Name: "./a", Typeflag: tar.TypeLink, Linkname: "./nothing"}), "hard link"},
		"over a folder":        {entry(tar.Header{Name: "./etc"}), "where a folder is"},
		"of another package":   {entry(tar.Header{Name: "./etc/issue"}), "both have /etc/issue"},
		"the same by a link":   {entry(tar.Header{Name: "./usr/lib/os"}), "both have /usr/lib/os"},
		"conffile is relative": {pkg{name: "evil", version: "1", data: []tar.Header{file("/x", 0o644)}, control: map[string]string{"conffiles": "x\n"}}, "no absolute path"},
		"conffile is a folder": {pkg{name: "evil", version: "1", data: []tar.Header{dir("/etc")}, control: map[string]string{"conffiles": "/etc\n"}}, "no plain file"},
	} {
		t.Run(name, func(t *testing.T) {
			a := smallArchive(t)
			a.add("bookworm", c.pkg)
			a.publish("bookworm")
			_, err := Build(t.Context(), a.options("evil"))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "evil") {
				t.Fatalf("the error is %v", err)
			}
			if k := api.KindOf(err); k != api.KindUnsafe && k != api.KindConflict {
				t.Errorf("its kind is %s", k)
			}
		})
	}
}

// TestSymlinkOverFolder leaves the folder, as dpkg does.
func TestSymlinkOverFolder(t *testing.T) {
	a := smallArchive(t)
	a.add("bookworm", pkg{name: "odd", version: "1", fields: "Replaces: base-files\n", data: []tar.Header{{Name: "./etc", Typeflag: tar.TypeSymlink, Linkname: "/usr/etc"}}})
	a.publish("bookworm")
	r := mustBuild(t, a.options("odd"))
	if n, err := r.Tree.Lookup("/etc"); err != nil || n.Type != tree.Dir {
		t.Errorf("/etc is %+v, %v", n, err)
	}
}

func TestOtherPackageInside(t *testing.T) {
	a := smallArchive(t)
	path := a.add("bookworm", pkg{name: "outer", version: "1", data: []tar.Header{dir("")}})
	inner := pkg{name: "inner", version: "1", data: []tar.Header{dir("")}}.deb(t)
	a.put(path, inner)
	last := len(a.packages["bookworm"]) - 1
	a.packages["bookworm"][last] = "Package: outer\nVersion: 1\nArchitecture: amd64\nFilename: pool/outer_1.deb\n" +
		"Size: " + itoa(len(inner)) + "\nSHA256: " + sha(inner) + "\n"
	a.publish("bookworm")
	_, err := Build(t.Context(), a.options("outer"))
	if api.KindOf(err) != api.KindUnsafe || !strings.Contains(err.Error(), "it is inner 1 for amd64") {
		t.Errorf("the error is %v", err)
	}
}

// TestReplaces lets a package take over a file of another, whichever is larger.
func TestReplaces(t *testing.T) {
	for _, size := range []int{1, 100 << 10} {
		a := smallArchive(t)
		a.add("bookworm", pkg{
			name: "taker", version: "1", fields: "Replaces: base-files (<< 13)\nDepends: big\n", data: []tar.Header{dir("/etc"), file("/etc/issue", 0o600)},
			files: map[string]string{"./etc/issue": "mine" + strings.Repeat("x", size)},
		})
		a.add("bookworm", pkg{name: "big", version: "1", data: []tar.Header{file("/big", 0o644)}, files: map[string]string{"./big": strings.Repeat("y", 50<<10)}, compression: ".none"})
		a.publish("bookworm")
		one := mustBuild(t, a.options("taker"))
		o := a.options("taker")
		o.Base = mustBuild(t, a.options()).Tree
		for _, r := range []*Result{one, mustBuild(t, o)} {
			if s := readTree(t, r.Tree, "/etc/issue"); !strings.HasPrefix(s, "mine") {
				t.Errorf("/etc/issue is %q", s)
			}
			if s := readTree(t, r.Tree, "/var/lib/dpkg/info/base-files.list"); strings.Contains(s, "issue") {
				t.Errorf("it is still in the list: %q", s)
			}
			if s := readTree(t, r.Tree, "/var/lib/dpkg/info/taker.list"); !strings.Contains(s, "/etc/issue\n") {
				t.Errorf("it is not in the list: %q", s)
			}
		}
	}
}

func TestSkip(t *testing.T) {
	a := smallArchive(t)
	o := a.options("tool")
	o.Skip = func(path string) bool { return strings.HasPrefix(path, "/usr/share/") || path == "/etc/issue" }
	r := mustBuild(t, o)
	if _, err := r.Tree.Lookup("/usr/share/things"); err == nil {
		t.Error("/usr/share/things is there")
	}
	if s := readTree(t, r.Tree, "/var/lib/dpkg/info/tool.list"); !strings.Contains(s, "/usr/share/things/t\n") {
		t.Errorf("dpkg's list is %q", s)
	}
}

func TestBrokenData(t *testing.T) {
	whole := pkg{name: "evil", version: "1", data: []tar.Header{file("/x", 0o644)}, files: map[string]string{"./x": strings.Repeat("x", 1000)}}
	members, err := readAr(bytes.NewReader(whole.deb(t)), int64(len(whole.deb(t))))
	if err != nil {
		t.Fatal(err)
	}
	control, _ := io.ReadAll(members[1].data)
	data, _ := io.ReadAll(members[2].data)
	flipped := bytes.Clone(data)
	flipped[len(flipped)/2] ^= 1
	plain := tarFile(t, whole.data, whole.files)
	for name, c := range map[string]arEntry{
		"flipped":   {"data.tar.xz", flipped},
		"truncated": {"data.tar.xz", data[:len(data)-4]},
		"cut tar":   {"data.tar.gz", compress(t, ".gz", plain[:700])},
		"no tar":    {"data.tar", bytes.Repeat([]byte("x"), 2048)},
	} {
		t.Run(name, func(t *testing.T) {
			a := smallArchive(t)
			path := a.add("bookworm", whole)
			b := arFile(arEntry{"debian-binary", []byte("2.0\n")}, arEntry{"control.tar.gz", control}, c)
			old := a.get(path)
			a.put(path, b)
			last := len(a.packages["bookworm"]) - 1
			p := a.packages["bookworm"][last]
			p = strings.Replace(p, sha(old), sha(b), 1)
			a.packages["bookworm"][last] = strings.Replace(p, "Size: "+itoa(len(old)), "Size: "+itoa(len(b)), 1)
			a.publish("bookworm")
			_, err := Build(t.Context(), a.options("evil"))
			if err == nil || !strings.Contains(err.Error(), "evil") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func FuzzDeb(f *testing.F) {
	for _, suffix := range []string{".none", ".gz", ".xz", ".zst"} {
		p := pkg{name: "a", version: "1", compression: suffix, data: []tar.Header{file("/x", 0o644)}, files: map[string]string{"./x": "hello"}}
		f.Add(p.deb(f))
	}
	f.Add(arPadding())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := openDeb(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		d.checkControl(&Package{})
		r, err := d.data.tar("data.tar", 1<<20)
		if err != nil {
			return
		}
		defer r.Close()
		if n, _ := io.Copy(io.Discard, r); n > 1<<20 {
			t.Errorf("%d bytes came out", n)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	for _, suffix := range []string{".gz", ".xz", ".zst"} {
		f.Add(compress(f, suffix, []byte(strings.Repeat("hello ", 1000))), suffix)
	}
	f.Fuzz(func(t *testing.T, b []byte, suffix string) {
		r, err := decompress(bytes.NewReader(b), suffix, 1<<20)
		if err != nil {
			return
		}
		defer r.Close()
		if n, _ := io.Copy(io.Discard, r); n > 1<<20 {
			t.Errorf("%d bytes came out", n)
		}
	})
}
