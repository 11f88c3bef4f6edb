package tree_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

func TestApplyHostile(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	end := make([]byte, 1024)
	deep := strings.Repeat("d/", 600)
	for _, c := range []struct {
		name  string
		o     tree.ApplyOptions
		tar   []byte
		entry string // what the error must name
		says  string
	}{
		{name: "dot-dot", tar: archive(t, file("../x", "")), entry: "../x", says: `".." part`},
		{name: "dot-dot inside", tar: archive(t, file("a/../../x", "")), entry: "a/../../x", says: `".." part`},
		{name: "dot-dot folder", tar: archive(t, dir("..")), entry: "../", says: `".." part`},
		{name: "absolute dot-dot", tar: archive(t, file("/../etc/passwd", "")), entry: "/../etc/passwd", says: `".." part`},
		{name: "long name", tar: archive(t, file("a/"+strings.Repeat("n", 256), "")), entry: "nnn", says: "256 bytes"},
		{name: "long path", o: tree.ApplyOptions{Limits: tree.Limits{NameLen: 50}}, tar: archive(t, file(strings.Repeat("n/", 26)+"f", "")), entry: "n/n", says: "longer than 50"},
		{name: "deep path", tar: archive(t, file(deep+deep+"f", "")), entry: "d/d", says: "more than 1024 parts"},
		{name: "deep through a link", tar: archive(t, dir(deep), symlink("l", deep), file("l/"+deep+"f", "")), entry: "l/d", says: "more than 1024 parts"},
		{name: "long through a link", o: tree.ApplyOptions{Limits: tree.Limits{NameLen: 20}}, tar: archive(t, dir("aaaaaaa/bbbbbbb"), symlink("l", "aaaaaaa/bbbbbbb"), file("l/ccccc", "")), entry: "l/ccccc", says: "longer than 20"},
		{name: "hard link to nothing", tar: archive(t, hardlink("x", "/etc/passwd")), entry: "x", says: "not exist"},
		{name: "hard link out", tar: archive(t, hardlink("x", "../../etc/passwd")), entry: "x", says: `".." part`},
		{name: "hard link to a folder", tar: archive(t, dir("d"), hardlink("x", "d")), entry: "x", says: "folder"},
		{name: "hard link to the root", tar: archive(t, hardlink("x", "/")), entry: "x", says: "folder"},
		{name: "hard link over the root", tar: archive(t, file("f", ""), hardlink(".", "f")), entry: ".", says: "root"},
		{name: "hard link through an outer link", tar: archive(t, symlink("out", "/etc"), hardlink("x", "out/passwd")), entry: "x", says: "not exist"},
		{name: "root as a file", tar: archive(t, symlink(".", "x")), entry: ".", says: "root"},
		{name: "folder loop", tar: archive(t, symlink("a", "b"), symlink("b", "a"), file("a/x", "")), entry: "a/x", says: "symbolic links"},
		{name: "link to itself", tar: archive(t, symlink("a", "a/b"), file("a/x", "")), entry: "a/x", says: "symbolic links"},
		{name: "file as a folder", tar: archive(t, file("f", ""), file("f/x", "")), entry: "f/x", says: "folder is needed"},
		{name: "link to a file as a folder", tar: archive(t, file("f", ""), symlink("l", "f"), file("l/x", "")), entry: "l/x", says: "folder is needed"},
		{name: "link without target", tar: archive(t, symlink("l", "")), entry: "l", says: "link target"},
		{name: "link with long target", tar: archive(t, symlink("l", strings.Repeat("t", 4096))), entry: "l", says: "4096 bytes"},
		{name: "long name on the way of a link", tar: archive(t, symlink("l", strings.Repeat("t", 300)), file("l/x", "")), entry: "l/x", says: "300 bytes"},
		{name: "too many entries", o: tree.ApplyOptions{Limits: tree.Limits{Entries: 2}}, tar: archive(t, file("a", ""), file("b", ""), file("c", "")), entry: "c", says: "more than 2 entries"},
		{name: "too many parents", o: tree.ApplyOptions{Limits: tree.Limits{Entries: 20}}, tar: archive(t, file(strings.Repeat("p/", 30)+"f", "")), entry: "p/p", says: "more than 20 entries"},
		{name: "too many bytes", o: tree.ApplyOptions{Limits: tree.Limits{Bytes: 9}}, tar: archive(t, file("a", "12345"), file("b", "12345")), entry: "b", says: "more than 9 bytes"},
		{name: "too much metadata", o: tree.ApplyOptions{Limits: tree.Limits{Entries: 100}}, tar: archive(t, bigAttributes(40)...), entry: "f", says: "attributes take more"},
		{name: "large attributes", tar: archive(t, pax(file("f", ""), "SCHILY.xattr.user.x", strings.Repeat("v", 70000))), entry: "f", says: "extended attributes of"},
		{name: "nameless attribute", tar: archive(t, pax(file("f", ""), "SCHILY.xattr.", "v")), entry: "f", says: "cannot be named"},
		{name: "large device", tar: archive(t, device("d", tar.TypeChar, 4096, 0)), entry: "d", says: "major number 4096"},
		{name: "large minor", tar: archive(t, device("d", tar.TypeBlock, 0, 1<<20)), entry: "d", says: "minor number"},
		{name: "nobody's file", tar: archive(t, entry{Header: tar.Header{Name: "f", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}}), entry: "f", says: "user id"},
		{name: "large group", tar: archive(t, entry{Header: tar.Header{Name: "f", Typeflag: tar.TypeReg, Gid: 1 << 32}}), entry: "f", says: "group id"},
		{name: "negative user", tar: join(rawHeader("f", '0', map[int]string{108: "\xff\xff\xff\xff\xff\xff\xff\xff"}), end), entry: "f", says: "user id -1"},
		{name: "negative size", tar: join(rawHeader("f", '0', map[int]string{124: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}), end), says: "not a tar entry"},
		{name: "lying size", tar: join(rawHeader("f", '0', map[int]string{124: "00000077777\x00"}), end), entry: "f", says: "EOF"},
		{name: "cut off", tar: archive(t, file("f", strings.Repeat("x", 5000)))[:2000], entry: "f", says: "EOF"},
		{name: "cut off in a header", tar: archive(t, file("f", ""), file("g", ""))[:700], entry: "f", says: "EOF"},
		{name: "huge size", tar: join(rawHeader("f", '0', map[int]string{124: "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"}), end), entry: "f", says: "bytes of file data"},
		{name: "unknown type", tar: join(rawHeader("f", 'V', nil), end), entry: "f", says: "'V'"},
		{name: "contiguous file", tar: join(rawHeader("f", '7', nil), end), entry: "f", says: "'7'"},
		{name: "no tar", tar: bytes.Repeat([]byte("no tar "), 200), says: "not a tar entry"},
		{name: "empty whiteout", o: oci, tar: archive(t, file("d/.wh.", "")), entry: "d/.wh.", says: "whiteout without a name"},
		{name: "whiteout of dot", o: oci, tar: archive(t, file(".wh..", "")), entry: ".wh..", says: "whiteout without a name"},
		{name: "whiteout of dot-dot", o: oci, tar: archive(t, file("d/.wh...", "")), entry: "d/.wh...", says: "whiteout without a name"},
		{name: "whiteout as a folder", o: oci, tar: archive(t, file(".wh.d/f", "")), entry: ".wh.d/f", says: "whiteout cannot be a folder"},
		{name: "whiteout through a loop", o: oci, tar: archive(t, symlink("a", "a"), file("a/.wh.f", "")), entry: "a/.wh.f", says: "symbolic links"},
		{name: "whiteout of the root", o: overlay, tar: archive(t, device(".", tar.TypeChar, 0, 0)), entry: ".", says: "root"},
		{name: "overlay redirect", o: overlay, tar: archive(t, pax(dir("d"), "SCHILY.xattr.trusted.overlay.redirect", "/x")), entry: "d/", says: "redirect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Name = "layer-7"
			err := treetest.New(t).ApplyTar(bytes.NewReader(c.tar), c.o)
			if api.KindOf(err) != api.KindUnsafe {
				t.Fatalf("kind %q: %v", api.KindOf(err), err)
			}
			for _, part := range []string{"layer-7", c.entry, c.says} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}

// bigAttributes returns entries with 50,000 bytes of attributes each.
func bigAttributes(n int) (all []entry) {
	for i := range n {
		all = append(all, pax(file(fmt.Sprint("f", i), ""), "SCHILY.xattr.user.x", strings.Repeat("v", 50000)))
	}
	return all
}

var (
	oci     = tree.ApplyOptions{Whiteouts: tree.WhiteoutsOCI}
	overlay = tree.ApplyOptions{Whiteouts: tree.WhiteoutsOverlay}
)

// apply applies layers in turn.
func apply(tb testing.TB, o tree.ApplyOptions, layers ...[]entry) *tree.Tree {
	tb.Helper()
	tr := treetest.New(tb)
	for _, l := range layers {
		if err := tr.ApplyTar(bytes.NewReader(archive(tb, l...)), o); err != nil {
			tb.Fatal(err)
		}
	}
	return tr
}

// list returns the paths of a tree, with targets of symlinks and contents of
// files: "/d", "/l -> t", "/f = body".
func list(tb testing.TB, tr *tree.Tree) []string {
	tb.Helper()
	all := []string{}
	tr.Walk(func(path string, n *tree.Node) error {
		switch {
		case n.Type == tree.Symlink:
			path += " -> " + n.Target
		case n.Type == tree.Regular && n.Size > 0:
			b, err := io.ReadAll(tr.Open(n))
			if err != nil {
				tb.Fatal(err)
			}
			path += " = " + string(b)
		}
		all = append(all, path)
		return nil
	})
	return all[1:]
}

func TestApplyLayers(t *testing.T) {
	type layers = [][]entry
	for _, c := range []struct {
		name   string
		o      tree.ApplyOptions
		layers layers
		want   []string
	}{
		{"names are rooted", tree.ApplyOptions{}, layers{{file("./a", ""), file("/b", ""), file(".//c//d", "")}}, []string{"/a", "/b", "/c", "/c/d"}},
		{"file over folder", oci, layers{{file("d/x", "")}, {file("d", "new")}}, []string{"/d = new"}},
		{"folder over file", oci, layers{{file("d", "old")}, {dir("d"), file("d/x", "")}}, []string{"/d", "/d/x"}},
		{"folder over folder", oci, layers{{file("d/x", "")}, {dir("d")}}, []string{"/d", "/d/x"}},
		{"link over folder", oci, layers{{file("d/x", "")}, {symlink("d", "e")}}, []string{"/d -> e"}},
		{"folder over link in a layer", oci, layers{{dir("usr/lib"), symlink("lib", "usr/lib")}, {dir("lib"), file("lib/x", "")}}, []string{"/lib", "/lib/x", "/usr", "/usr/lib"}},
		{"folder over link in a package", tree.ApplyOptions{}, layers{{dir("usr/lib"), symlink("lib", "usr/lib")}, {dir("lib"), file("lib/x", "")}}, []string{"/lib -> usr/lib", "/usr", "/usr/lib", "/usr/lib/x"}},
		{"folder over link to a file", tree.ApplyOptions{}, layers{{file("f", ""), symlink("l", "f")}, {dir("l")}}, []string{"/f", "/l"}},
		{"folder over broken link", tree.ApplyOptions{}, layers{{symlink("l", "none")}, {dir("l")}}, []string{"/l"}},
		{"parent link inside", tree.ApplyOptions{}, layers{{dir("a/b"), symlink("l", "/a/b"), file("l/x", "")}}, []string{"/a", "/a/b", "/a/b/x", "/l -> /a/b"}},
		{"parent link climbs", tree.ApplyOptions{}, layers{{symlink("d/l", "../../../../etc"), file("d/l/passwd", "p")}}, []string{"/d", "/d/l -> ../../../../etc", "/etc", "/etc/passwd = p"}},
		{"parent link into nothing", tree.ApplyOptions{}, layers{{symlink("l", "/x/y"), file("l/f", "")}}, []string{"/l -> /x/y", "/x", "/x/y", "/x/y/f"}},
		{"entry over its own link", tree.ApplyOptions{}, layers{{symlink("l", "/etc/passwd"), file("l", "mine")}}, []string{"/l = mine"}},
		{"hard link keeps data", tree.ApplyOptions{}, layers{{file("a", "data"), hardlink("b", "./a"), file("a", "new")}}, []string{"/a = new", "/b = data"}},
		{"hard link into its own folder", tree.ApplyOptions{}, layers{{file("d/f", "data"), hardlink("d", "d/f")}}, []string{"/d = data"}},
		{"git's global header", tree.ApplyOptions{}, layers{{{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "c"}}}, file("a", "")}}, []string{"/a"}},
		{"whiteouts are names elsewhere", tree.ApplyOptions{}, layers{{file("a", "")}, {file(".wh.a", "")}}, []string{"/.wh.a", "/a"}},

		{"whiteout", oci, layers{{file("a", ""), file("d/x", ""), file("d/y", "")}, {file(".wh.a", ""), file("d/.wh.x", "")}}, []string{"/d", "/d/y"}},
		{"whiteout of a folder", oci, layers{{file("d/e/x", "")}, {file(".wh.d", "")}}, []string{}},
		{"whiteout of nothing", oci, layers{{}, {file(".wh.a", ""), file("no/.wh.b", ""), file("no/.wh..wh..opq", "")}}, []string{}},
		{"whiteout of the same layer", oci, layers{{file("a", "old")}, {file("a", "new"), file(".wh.a", "")}}, []string{"/a = new"}},
		{"whiteout through a link", oci, layers{{file("usr/lib/x", ""), symlink("lib", "usr/lib")}, {file("lib/.wh.x", "")}}, []string{"/lib -> usr/lib", "/usr", "/usr/lib"}},
		{"whiteout out of the root", oci, layers{{symlink("up", ".."), file("f", "")}, {file("up/.wh.f", "")}}, []string{"/up -> .."}},
		{"AUFS bookkeeping", oci, layers{{file(".wh..wh.aufs", ""), file(".wh..wh.plnk/x", ""), file("a", "")}}, []string{"/a"}},
		{"opaque first", oci, layers{{file("d/old", "")}, {file("d/.wh..wh..opq", ""), file("d/new", "")}}, []string{"/d", "/d/new"}},
		{"opaque last", oci, layers{{file("d/old", ""), file("d/e/old", "")}, {file("d/new", ""), file("d/e/new", ""), file("d/.wh..wh..opq", "")}}, []string{"/d", "/d/e", "/d/e/new", "/d/new"}},
		{"opaque keeps links of the layer", oci, layers{{file("d/old", "data")}, {hardlink("d/new", "d/old"), file("d/.wh..wh..opq", "")}}, []string{"/d", "/d/new = data"}},
		{"opaque root", oci, layers{{file("d/old", "")}, {file(".wh..wh..opq", ""), file("x", "")}}, []string{"/x"}},
		{"opaque hides its own lower layers only", oci, layers{{file("d/1", "")}, {file("d/.wh..wh..opq", ""), file("d/2", "")}, {file("d/3", "")}}, []string{"/d", "/d/2", "/d/3"}},

		{"overlay whiteout", overlay, layers{{file("a", ""), file("b/x", ""), file("c", "")}, {device("./a", tar.TypeChar, 0, 0), hardlink("./b", "./a"), hardlink("./c", "./b")}}, []string{}},
		{"overlay link to a file", overlay, layers{{file("a", "x")}, {hardlink("b", "a")}}, []string{"/a = x", "/b = x"}},
		{"overlay device", overlay, layers{{device("null", tar.TypeChar, 1, 3), hardlink("null2", "null")}}, []string{"/null", "/null2"}},
		{"overlay opaque", overlay, layers{{file("d/old", ""), file("e", "")}, {opaque("d"), file("d/new", ""), opaque("e"), file("e/x", "")}}, []string{"/d", "/d/new", "/e", "/e/x"}},
		{"overlay opaque root", overlay, layers{{file("d/old", "")}, {opaque("."), file("x", "")}}, []string{"/x"}},
		{"overlay name made again", overlay, layers{{file("a", "old")}, {device("a", tar.TypeChar, 0, 0), file("a", "new"), hardlink("b", "a")}}, []string{"/a = new", "/b = new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := apply(t, c.o, c.layers...)
			if d := cmp.Diff(c.want, list(t, tr)); d != "" {
				t.Error(d)
			}
		})
	}
}

func opaque(name string) entry {
	return pax(dir(name), "SCHILY.xattr.trusted.overlay.opaque", "y")
}

func TestApplyDropsOverlayAttributes(t *testing.T) {
	e := opaque("d")
	e.PAXRecords["SCHILY.xattr.trusted.overlay.origin"] = "x"
	e.PAXRecords["SCHILY.xattr.user.mine"] = "kept"
	n, err := apply(t, overlay, []entry{e}).Lookup("/d")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"user.mine": "kept"}, n.Xattrs); d != "" {
		t.Error(d)
	}
}

func TestApplySkipAndVisit(t *testing.T) {
	var visited []string
	tr := apply(t, tree.ApplyOptions{
		Skip:  func(path string) bool { return strings.HasPrefix(path, "/doc/") },
		Visit: func(path string, h *tar.Header) { visited = append(visited, path) },
	}, []entry{dir("./"), dir("doc"), file("doc/a", "aa"), file("./b", "b"), hardlink("doc/c", "doc/a")})
	if d := cmp.Diff([]string{"/", "/doc", "/doc/a", "/b", "/doc/c"}, visited); d != "" {
		t.Error("visited", d)
	}
	if d := cmp.Diff([]string{"/b = b", "/doc"}, list(t, tr)); d != "" {
		t.Error(d)
	}
}

// TestApplySkipsFirstLink leaves out the entry that later hard links refer to.
func TestApplySkipsFirstLink(t *testing.T) {
	o := tree.ApplyOptions{
		Whiteouts: tree.WhiteoutsOverlay,
		Skip:      func(path string) bool { return strings.HasPrefix(path, "/tmp/") },
	}
	tr := treetest.New(t)
	for _, l := range [][]entry{
		{file("a", ""), file("b", "")},
		{
			device("tmp/gone", tar.TypeChar, 0, 0), hardlink("a", "tmp/gone"), hardlink("tmp/gone2", "tmp/gone"), hardlink("b", "tmp/gone2"),
			file("tmp/old", "new"), hardlink("tmp/two", "tmp/old"), hardlink("c", "tmp/old"), hardlink("d", "tmp/two"),
		},
	} {
		if err := tr.ApplyTar(bytes.NewReader(archive(t, l...)), o); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"/c = new", "/d = new"}, list(t, tr)); d != "" {
		t.Error(d)
	}
	if treetest.Entries(t, tr)["/d"].LinkOf != "/c" {
		t.Error("the two names are not one file")
	}
}

// sparse is a GNU sparse file of 10 bytes with "xy" at offset 4.
func sparse() []byte {
	h := rawHeader("s", 'S', map[int]string{
		124: "00000000002\x00", 257: "ustar  \x00",
		386: "00000000004\x0000000000002\x00", 483: "00000000012\x00",
	})
	return append(append(h, append([]byte("xy"), make([]byte, 510)...)...), make([]byte, 1024)...)
}

func TestApplySparse(t *testing.T) {
	tr := treetest.New(t)
	if err := tr.ApplyTar(bytes.NewReader(sparse()), tree.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := tr.ReadFile("/s")
	if err != nil || string(got) != "\x00\x00\x00\x00xy\x00\x00\x00\x00" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestApplyReadErrors(t *testing.T) {
	tarball := archive(t, file("f", strings.Repeat("x", 4000)))
	network := api.Errorf(api.KindNetwork, "the mirror went away").WithHint("try again")
	for _, c := range []struct {
		err  error
		kind api.Kind
	}{
		{io.ErrClosedPipe, api.KindVerification},
		{io.ErrUnexpectedEOF, api.KindVerification},
		{network, api.KindNetwork},
		{context.Canceled, api.KindCanceled},
	} {
		for _, cut := range []int{100, 512, 3000} {
			r := io.MultiReader(bytes.NewReader(tarball[:cut]), iotest.ErrReader(c.err))
			err := treetest.New(t).ApplyTar(r, tree.ApplyOptions{Name: "pkg.deb"})
			if !errors.Is(err, c.err) || api.KindOf(err) != c.kind || !strings.Contains(err.Error(), "pkg.deb") {
				t.Errorf("%v after %d bytes gives kind %q: %v", c.err, cut, api.KindOf(err), err)
			}
		}
	}
}

func TestApplyLimitsAreOfOneArchive(t *testing.T) {
	o := tree.ApplyOptions{Limits: tree.Limits{Entries: 3, Bytes: 10}}
	tr := apply(t, o, []entry{file("a/b", "12345"), file("c", "12345")}, []entry{file("d/e", "12345"), file("f", "12345")})
	if s := tr.Stat(); s != (tree.Stats{Entries: 6, Bytes: 20}) {
		t.Errorf("%+v", s)
	}
	if err := tr.PutFile("/later/x", 0o644, epoch, make([]byte, 100)); err != nil {
		t.Errorf("the limits outlive their archive: %v", err)
	}
}
