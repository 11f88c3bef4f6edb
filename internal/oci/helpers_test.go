package oci

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"pyro/api"
	"pyro/internal/tree"
)

var amd64 = Platform{OS: "linux", Architecture: "amd64"}

// folderBlobs is a blob store for one test process.
type folderBlobs struct{ dir string }

func newBlobs(t *testing.T) *folderBlobs { return &folderBlobs{dir: t.TempDir()} }

func (b *folderBlobs) path(digest string) string {
	return filepath.Join(b.dir, strings.TrimPrefix(digest, "sha256:"))
}
func (b *folderBlobs) Open(digest string) (*os.File, error) { return os.Open(b.path(digest)) }
func (b *folderBlobs) Remove(digest string) error {
	if err := os.Remove(b.path(digest)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (b *folderBlobs) Partial(_ context.Context, digest string) (Partial, error) {
	f, err := os.OpenFile(b.path(digest)+".part", os.O_RDWR|os.O_CREATE, 0o600)
	return &folderPartial{f, b.path(digest)}, err
}

type folderPartial struct {
	f    *os.File
	path string
}

func (p *folderPartial) File() *os.File { return p.f }
func (p *folderPartial) Commit() error  { return os.Rename(p.path+".part", p.path) }
func (p *folderPartial) Close() error   { return p.f.Close() }

// testRegistry is an in-memory registry on loopback. Requests pass through
// intercept first, which may answer them itself by returning true.
type testRegistry struct {
	host      string
	mu        sync.Mutex
	requests  []string
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	reg := &testRegistry{}
	inner := registry.New(registry.Logger(nopLogger))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reg.mu.Lock()
		reg.requests = append(reg.requests, r.Method+" "+r.URL.Path+rangeOf(r))
		f := reg.intercept
		reg.mu.Unlock()
		if f == nil || !f(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	reg.host = u.Host
	return reg
}

func rangeOf(r *http.Request) string {
	if h := r.Header.Get("Range"); h != "" {
		return " " + h
	}
	return ""
}

func (r *testRegistry) intercepting(f func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = f
	r.requests = nil
}

func (r *testRegistry) seen(part string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.requests {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// push uploads an image under REPO:TAG or, when tag is "", by its digest.
func (r *testRegistry) push(t *testing.T, name string, img v1.Image) Reference {
	t.Helper()
	repo, tag, _ := strings.Cut(name, ":")
	layers, err := img.Layers()
	check(t, err)
	for _, l := range layers {
		digest, err := l.Digest()
		check(t, err)
		rc, err := l.Compressed()
		check(t, err)
		data, err := io.ReadAll(rc)
		check(t, err)
		r.pushBlob(t, repo, digest.String(), data)
	}
	config, err := img.RawConfigFile()
	check(t, err)
	digest, err := img.ConfigName()
	check(t, err)
	r.pushBlob(t, repo, digest.String(), config)
	raw, err := img.RawManifest()
	check(t, err)
	mt, err := img.MediaType()
	check(t, err)
	return r.pushManifest(t, repo, tag, string(mt), raw)
}

func (r *testRegistry) pushManifest(t *testing.T, repo, tag, mediaType string, raw []byte) Reference {
	t.Helper()
	r.send(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, mediaType, raw)
	return mustReference(t, r.host+"/"+repo+":"+tag)
}

func (r *testRegistry) pushBlob(t *testing.T, repo, digest string, data []byte) {
	t.Helper()
	r.send(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest, "application/octet-stream", data)
}

func (r *testRegistry) send(t *testing.T, method, path, mediaType string, data []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.host+path, bytes.NewReader(data))
	check(t, err)
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustReference(t *testing.T, s string) Reference {
	t.Helper()
	ref, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// entry is one entry of a test layer.
type entry struct {
	name, body, link string
	typ              byte
	mode             int64
}

func dir(name string) entry { return entry{name: name, typ: tar.TypeDir, mode: 0o755} }
func file(name, body string) entry {
	return entry{name: name, body: body, typ: tar.TypeReg, mode: 0o644}
}
func symlink(name, to string) entry  { return entry{name: name, link: to, typ: tar.TypeSymlink} }
func hardlink(name, to string) entry { return entry{name: name, link: to, typ: tar.TypeLink} }
func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Typeflag: e.typ, Linkname: e.link, Size: int64(len(e.body))}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// imageOf makes an image of uncompressed layers.
func imageOf(t *testing.T, layers ...[]byte) v1.Image {
	t.Helper()
	img := empty.Image
	for _, data := range layers {
		img = appendLayer(t, img, static.NewLayer(data, types.OCIUncompressedLayer), types.OCIUncompressedLayer)
	}
	return withPlatform(t, img)
}

func appendLayer(t *testing.T, img v1.Image, l v1.Layer, mt types.MediaType) v1.Image {
	t.Helper()
	img, err := mutate.Append(img, mutate.Addendum{Layer: l, MediaType: mt})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func withPlatform(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", "amd64"
	cfg.Config.Env = []string{"PATH=/usr/bin", "broken"}
	cfg.Config.WorkingDir = "/srv"
	cfg.Config.User = "app"
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// pull resolves, fetches and flattens into a new tree.
func pull(t *testing.T, r *Registry, ref Reference) (*Image, *tree.Tree, error) {
	t.Helper()
	img, err := r.Resolve(t.Context(), ref, amd64)
	if err != nil {
		return nil, nil, err
	}
	if err := img.Fetch(t.Context(), nil); err != nil {
		return nil, nil, err
	}
	tr, err := flatten(t, img)
	return img, tr, err
}

func flatten(t *testing.T, img *Image) (*tree.Tree, error) {
	t.Helper()
	tr, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	err = img.Flatten(t.Context(), func(layer string, r io.Reader) error {
		return tr.ApplyTar(r, tree.ApplyOptions{Name: layer, Whiteouts: tree.WhiteoutsOCI})
	}, nil)
	return tr, err
}

// listing returns "path" or "path=content" of every entry but the root.
func listing(t *testing.T, tr *tree.Tree) []string {
	t.Helper()
	var out []string
	tr.Walk(func(p string, n *tree.Node) error {
		switch {
		case p == "/":
		case n.Type == tree.Regular:
			b, err := tr.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p+"="+string(b))
		case n.Type == tree.Symlink:
			out = append(out, p+"->"+n.Target)
		default:
			out = append(out, p)
		}
		return nil
	})
	return out
}

func wantKind(t *testing.T, err error, kind api.Kind, parts ...string) {
	t.Helper()
	if api.KindOf(err) != kind {
		t.Fatalf("error %v has kind %q, want %q", err, api.KindOf(err), kind)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not name %q", err, p)
		}
	}
}

// rawImage is an image that the libraries would not write.
type rawImage struct {
	configType string
	layers     []rawLayer
}

type rawLayer struct {
	mediaType   string
	data, plain []byte
}

func (r *testRegistry) pushRaw(t *testing.T, repo string, img rawImage) Reference {
	t.Helper()
	type desc struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	layers, diffIDs := []desc{}, []string{}
	for _, l := range img.layers {
		layers = append(layers, desc{l.mediaType, digestString(l.data), len(l.data)})
		diffIDs = append(diffIDs, digestString(l.plain))
		r.pushBlob(t, repo, digestString(l.data), l.data)
	}
	config := mustJSON(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}})
	r.pushBlob(t, repo, digestString(config), config)
	manifest := mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1,
		"config": desc{cmp.Or(img.configType, string(types.OCIConfigJSON)), digestString(config), len(config)},
		"layers": layers,
	})
	return r.pushManifest(t, repo, "raw", string(types.OCIManifestSchema1), manifest)
}

func digestString(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func flipByte(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	check(t, err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b[:], at)
	check(t, err)
}
