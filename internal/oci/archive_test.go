package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/tree"
)

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(p, data, 0o600))
	return p
}

func openArchive(t *testing.T, path string) (*Archive, error) {
	t.Helper()
	a, err := OpenArchive(t.Context(), path, t.TempDir(), amd64)
	if err == nil {
		t.Cleanup(func() { a.Close() })
	}
	return a, err
}

func gzipOf(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	check(t, z.Close())
	return b.Bytes()
}

func TestRootFSArchive(t *testing.T) {
	plain := tarOf(t, dir("./"), dir("./etc/"), file("./etc/a", "1"), symlink("./b", "etc/a"))
	for name, data := range map[string][]byte{"root.tar": plain, "root.tar.gz": gzipOf(t, plain)} {
		a, err := openArchive(t, writeFile(t, name, data))
		check(t, err)
		if a.Form != "rootfs" {
			t.Errorf("%s: form %q", name, a.Form)
		}
		tr, err := flatten(t, a.Image)
		check(t, err)
		if diff := cmp.Diff([]string{"/b->etc/a", "/etc", "/etc/a=1"}, listing(t, tr)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDockerSaveArchive(t *testing.T) {
	base, top := tarOf(t, file("a", "1"), file("b", "2")), tarOf(t, file(".wh.a", ""), file("c", "3"))
	config := fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","config":{"WorkingDir":"srv"},"rootfs":{"type":"layers","diff_ids":[%q,%q]}}`,
		digestString(base), digestString(top))
	manifest := []byte(`[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l1/layer.tar","l2/layer.tar"]}]`)
	tarball := tarOf(t, entry{name: "l2/layer.tar", typ: tar.TypeReg, body: string(gzipOf(t, top)), mode: 0o644},
		file("manifest.json", string(manifest)), file("c.json", string(config)),
		file("store/base.tar", string(base)), symlink("l1/layer.tar", "../store/base.tar"))
	a, err := openArchive(t, writeFile(t, "save.tar", tarball))
	check(t, err)
	if a.Form != "docker-save" || a.Image.Config.WorkingDir != "/srv" {
		t.Errorf("form %q, config %+v", a.Form, a.Image.Config)
	}
	tr, err := flatten(t, a.Image)
	check(t, err)
	if diff := cmp.Diff([]string{"/b=2", "/c=3"}, listing(t, tr)); diff != "" {
		t.Error(diff)
	}

	two := tarOf(t, file("manifest.json", `[{"Config":"a"},{"Config":"b"}]`))
	_, err = openArchive(t, writeFile(t, "two.tar", two))
	wantKind(t, err, api.KindUsage, "two.tar holds 2 images")
	lacking := tarOf(t, file("manifest.json", `[{"Config":"a","Layers":["gone"]}]`), file("a", string(config)))
	_, err = openArchive(t, writeFile(t, "lacking.tar", lacking))
	wantKind(t, err, api.KindVerification, "lacks layer gone")
}

func TestNotAnArchive(t *testing.T) {
	for name, data := range map[string][]byte{"empty": {}, "text": []byte(strings.Repeat("hello ", 200)), "cut.gz": gzipOf(t, tarOf(t, file("a", "x")))[:60]} {
		_, err := openArchive(t, writeFile(t, name, data))
		if k := api.KindOf(err); k != api.KindVerification && k != api.KindUnsafe || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v (%q)", name, err, k)
		}
	}
	_, err := openArchive(t, filepath.Join(t.TempDir(), "none.tar"))
	wantKind(t, err, api.KindNotFound, "none.tar")
	_, err = openArchive(t, t.TempDir())
	wantKind(t, err, api.KindStorage, "not a regular file")
}

// What WriteLayout writes comes back the same, and other tools can read it.
func TestLayoutRoundTrip(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in, err := tree.New(t.TempDir())
	check(t, err)
	defer in.Close()
	check(t, in.PutFile("/etc/motd", 0o600, created, []byte("hello")))
	check(t, in.Link("/etc/motd", "/etc/again"))
	options := LayoutOptions{
		Name: "mine:1", Platform: amd64, SpoolDir: t.TempDir(),
		Config: Config{Created: created, Env: []string{"A=b"}, User: "7", Labels: map[string]string{"k": "v"}},
		Tar:    func(w io.Writer) error { return in.WriteTar(w, created) },
	}
	var first, second bytes.Buffer
	check(t, WriteLayout(&first, options))
	check(t, WriteLayout(&second, options))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same input gave two different archives")
	}
	a, err := openArchive(t, writeFile(t, "out.tar", first.Bytes()))
	check(t, err)
	if a.Form != "oci-layout" {
		t.Errorf("form %q", a.Form)
	}
	want := options.Config
	want.Platform = amd64
	if diff := cmp.Diff(want, a.Image.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	tr, err := flatten(t, a.Image)
	check(t, err)
	if diff := cmp.Diff([]string{"/etc", "/etc/again=hello", "/etc/motd=hello"}, listing(t, tr)); diff != "" {
		t.Error(diff)
	}

	folder := untar(t, first.Bytes())
	index, err := layout.ImageIndexFromPath(folder)
	check(t, err)
	im, err := index.IndexManifest()
	check(t, err)
	img, err := index.Image(im.Manifests[0].Digest)
	check(t, err)
	if _, err := img.ConfigFile(); err != nil {
		t.Errorf("another library cannot read the layout: %v", err)
	}
}

func untar(t *testing.T, data []byte) string {
	t.Helper()
	dst := t.TempDir()
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return dst
		}
		check(t, err)
		p := filepath.Join(dst, h.Name)
		check(t, os.MkdirAll(filepath.Dir(p), 0o700))
		b, err := io.ReadAll(tr)
		check(t, err)
		check(t, os.WriteFile(p, b, 0o600))
	}
}

func TestLayoutFolder(t *testing.T) {
	folder := t.TempDir()
	p, err := layout.Write(folder, empty.Index)
	check(t, err)
	img := imageOf(t, tarOf(t, file("a", "1")))
	check(t, p.AppendImage(img))
	if !IsLayout(folder) {
		t.Error("IsLayout says no")
	}
	open := func() (*Image, error) {
		img, closer, err := OpenLayout(folder, amd64)
		if err == nil {
			t.Cleanup(func() { closer.Close() })
		}
		return img, err
	}
	got, err := open()
	check(t, err)
	tr, err := flatten(t, got)
	check(t, err)
	if diff := cmp.Diff([]string{"/a=1"}, listing(t, tr)); diff != "" {
		t.Error(diff)
	}

	// A damaged layer is noticed by its diff ID, a damaged config by its digest.
	layerFile := filepath.Join(folder, blobFile(got.Layers[0].Digest))
	flipByte(t, layerFile, 512)
	_, err = flatten(t, got)
	wantKind(t, err, api.KindVerification, "diff ID")

	// A layer that is a link out of the layout is not followed.
	check(t, os.Remove(layerFile))
	check(t, os.Symlink("/etc/passwd", layerFile))
	if _, err = flatten(t, got); err == nil || api.KindOf(err) == api.KindVerification {
		t.Errorf("link out of the layout: %v", err)
	}

	other, err := random.Image(100, 1)
	check(t, err)
	check(t, p.AppendImage(other))
	_, err = open()
	wantKind(t, err, api.KindUsage, "holds 2 images")
}

func TestReadFolder(t *testing.T) {
	src := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(src, "usr/bin"), 0o755))
	check(t, os.WriteFile(filepath.Join(src, "usr/bin/tool"), []byte("x"), 0o755))
	check(t, os.Chmod(filepath.Join(src, "usr/bin/tool"), 0o755|os.ModeSetuid))
	check(t, os.Link(filepath.Join(src, "usr/bin/tool"), filepath.Join(src, "usr/bin/same")))
	check(t, os.Symlink("/etc", filepath.Join(src, "out")))
	check(t, unix.Mkfifo(filepath.Join(src, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(src, "socket"))
	check(t, err)
	defer l.Close()

	tr, err := tree.New(t.TempDir())
	check(t, err)
	defer tr.Close()
	check(t, ReadFolder(t.Context(), src, tr))
	want := []string{"/out->/etc", "/pipe", "/usr", "/usr/bin", "/usr/bin/same=x", "/usr/bin/tool=x"}
	if diff := cmp.Diff(want, listing(t, tr)); diff != "" {
		t.Error(diff)
	}
	tool, err := tr.Lookup("/usr/bin/tool")
	check(t, err)
	if same, _ := tr.Lookup("/usr/bin/same"); same != tool {
		t.Error("the hard link was not kept")
	}
	if tool.Mode != 0o4755 || tool.UID != 0 {
		t.Errorf("mode %o, uid %d", tool.Mode, tool.UID)
	}
	err = ReadFolder(t.Context(), filepath.Join(src, "none"), tr)
	wantKind(t, err, api.KindNotFound, "none")
}

func TestReadFolderNamesWhatItCannotRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	src := t.TempDir()
	check(t, os.WriteFile(filepath.Join(src, "secret"), nil, 0))
	tr, err := tree.New(t.TempDir())
	check(t, err)
	defer tr.Close()
	wantKind(t, ReadFolder(t.Context(), src, tr), api.KindPermission, "secret")
}

func TestParseReference(t *testing.T) {
	hex := strings.Repeat("0f", 32)
	tests := []struct{ in, want string }{
		{"docker://debian", "docker.io/library/debian:latest"},
		{"debian:12", "docker.io/library/debian:12"},
		{"oci://ghcr.io/a/b", "ghcr.io/a/b:latest"},
		{"index.docker.io/a/b:c", "docker.io/a/b:c"},
		{"localhost/x", "localhost/x:latest"},
		{"LOCALHOST:5000/x:T", "localhost:5000/x:T"},
		{"[::1]:5000/x/y:t", "[::1]:5000/x/y:t"},
		{"a/b@sha256:" + hex, "docker.io/a/b@sha256:" + hex},
		{"r.io/a:tag@sha256:" + hex, "r.io/a@sha256:" + hex},
	}
	for _, tt := range tests {
		ref, err := ParseReference(tt.in)
		if err != nil || ref.String() != tt.want {
			t.Errorf("ParseReference(%q) = %v, %v, want %s", tt.in, ref, err, tt.want)
		}
	}
	for _, in := range []string{"", "/", "docker://", "UPPER", "a/../b", "a//b", "-x.io/a", "a:", "a@", "a@sha256:12", "a@md5:" + hex, "a b", "r.io:port/a", "r.io/", strings.Repeat("a", 600), "a:b:c", "host.io:99999999/a"} {
		if ref, err := ParseReference(in); api.KindOf(err) != api.KindUsage {
			t.Errorf("ParseReference(%q) = %v, %v; want a usage error", in, ref, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5": true, "127.0.0.1:5000": true, "127.8.9.1": true, "[::1]:80": true,
		"localhost.evil.io": false, "128.0.0.1": false, "127.0.0.1.nip.io:5": false, "[fe80::1]": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("isLoopback(%q) = %v", host, got)
		}
	}
}

func TestHostileDocuments(t *testing.T) {
	digest := "sha256:" + strings.Repeat("00", 32)
	config := `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest + `","size":2}`
	layer := func(digest, size string) string {
		return `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + digest + `","size":` + size + `}`
	}
	tests := []struct{ name, doc, says string }{
		{"no json", `{`, "not valid JSON"},
		{"both", `{"schemaVersion":2,"manifests":[],` + config + `}`, "at once"},
		{"huge layer", `{"schemaVersion":2,` + config + `,"layers":[` + layer(digest, "1e18") + `]}`, "not valid JSON"},
		{"large layer", `{"schemaVersion":2,` + config + `,"layers":[` + layer(digest, "99999999999999") + `]}`, "at most"},
		{"negative layer", `{"schemaVersion":2,` + config + `,"layers":[` + layer(digest, "-1") + `]}`, "-1"},
		{"path as digest", `{"schemaVersion":2,` + config + `,"layers":[` + layer("sha256:../../etc", "1") + `]}`, "hexadecimal"},
		{"many layers", `{"schemaVersion":2,` + config + `,"layers":[` + strings.Repeat(layer(digest, "1")+",", maxLayers) + layer(digest, "1") + `]}`, "layers"},
		{"no config", `{"schemaVersion":2,"layers":[]}`, "no config"},
	}
	for _, tt := range tests {
		_, err := parseDocument("img", "", []byte(tt.doc))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	_, err := parseDocument("img", dockerIndex, []byte(`{"schemaVersion":2,"mediaType":"`+dockerManifest+`"}`))
	wantKind(t, err, api.KindUnsafe, "calls itself")
	if !slices.Contains(manifestTypes, dockerIndex) {
		t.Error("docker's index is not asked for")
	}
}
