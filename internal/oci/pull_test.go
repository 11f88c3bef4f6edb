package oci

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"pyro/api"
)

var nopLogger = log.New(io.Discard, "", 0)

func TestPull(t *testing.T) {
	reg := newRegistry(t)
	base := tarOf(t, dir("etc/"), file("etc/a", "1"), file("etc/b", "2"), dir("opt/"), file("opt/old", "x"), symlink("lib", "usr/lib"))
	top := tarOf(t, file("etc/.wh.b", ""), dir("opt/"), file("opt/new", "y"), file("opt/.wh..wh..opq", ""), hardlink("etc/c", "etc/a"))
	img := imageOf(t, base, top)
	ref := reg.push(t, "team/app:v1", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/etc", "/etc/a=1", "/etc/c=1", "/lib->usr/lib", "/opt", "/opt/new=y"}

	for _, ref := range []Reference{ref, mustReference(t, reg.host+"/team/app@"+digest.String())} {
		got, tr, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
		if err != nil {
			t.Fatalf("pull %s: %v", ref, err)
		}
		if diff := cmp.Diff(want, listing(t, tr)); diff != "" {
			t.Errorf("%s: tree (-want +got):\n%s", ref, diff)
		}
		if got.Digest != digest.String() {
			t.Errorf("digest %s, want %s", got.Digest, digest)
		}
		if diff := cmp.Diff([]string{"PATH=/usr/bin"}, got.Config.Env); diff != "" || got.Config.WorkingDir != "/srv" || got.Config.User != "app" {
			t.Errorf("config %+v", got.Config)
		}
	}
}

// The same file arrives under every media type we read.
func TestLayerMediaTypes(t *testing.T) {
	plain := tarOf(t, file("a", "hello"))
	var gz, zs bytes.Buffer
	zw := gzip.NewWriter(&gz)
	zw.Write(plain)
	check(t, zw.Close())
	enc, err := zstd.NewWriter(&zs)
	check(t, err)
	enc.Write(plain)
	check(t, enc.Close())

	reg := newRegistry(t)
	for mediaType, c := range layerCompression {
		t.Run(path.Base(mediaType), func(t *testing.T) {
			data := map[compression][]byte{uncompressed: plain, gzipped: gz.Bytes(), zstandard: zs.Bytes()}[c]
			ref := reg.pushRaw(t, "kind", rawImage{layers: []rawLayer{{mediaType: mediaType, data: data, plain: plain}}})
			_, tr, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
			check(t, err)
			if diff := cmp.Diff([]string{"/a=hello"}, listing(t, tr)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedMediaTypes(t *testing.T) {
	reg := newRegistry(t)
	plain := tarOf(t, file("a", "x"))
	for _, mediaType := range []string{
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
		"application/vnd.cncf.helm.chart.content.v1.tar+gzip",
		"file:a",
		"",
	} {
		ref := reg.pushRaw(t, "kind", rawImage{layers: []rawLayer{{mediaType: mediaType, data: plain, plain: plain}}})
		_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
		wantKind(t, err, api.KindUnsupported, `"`+mediaType+`"`)
	}
	ref := reg.pushRaw(t, "chart", rawImage{configType: "application/vnd.cncf.helm.config.v1+json"})
	_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	wantKind(t, err, api.KindUnsupported, "helm")
	ref = reg.pushManifest(t, "old", "1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1}`))
	_, _, err = pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	wantKind(t, err, api.KindUnsupported, "schema version 1")
}

func TestIndexPicksThePlatform(t *testing.T) {
	reg := newRegistry(t)
	img := imageOf(t, tarOf(t, file("amd64", "")))
	reg.push(t, "multi:amd64", img)
	digest, err := img.Digest()
	check(t, err)
	size, err := img.Size()
	check(t, err)
	index := func(os, arch string) []byte {
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[
			{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064d","size":3,"platform":{"os":"unknown","architecture":"unknown"}},
			{"mediaType":"application/vnd.example.artifact","digest":"md5:x","size":-1},
			{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":%q,"size":%d,"platform":{"os":%q,"architecture":%q}}]}`,
			types.OCIImageIndex, 0, digest, size, os, arch)
	}
	serve := func(doc []byte) Reference {
		reg.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/manifests/all") {
				return false
			}
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			w.Write(doc)
			return true
		})
		return mustReference(t, reg.host+"/multi:all")
	}
	ref := serve(index("linux", "amd64"))
	got, tr, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	check(t, err)
	if diff := cmp.Diff([]string{"/amd64="}, listing(t, tr)); diff != "" {
		t.Error(diff)
	}
	if got.Digest != digest.String() {
		t.Errorf("digest %s is not that of the platform's manifest", got.Digest)
	}
	ref = serve(index("linux", "arm64"))
	_, _, err = pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	wantKind(t, err, api.KindUnsupported, "nothing for linux/amd64")
	if hint := api.AsError(err).Hint; hint != "it offers linux/arm64" {
		t.Errorf("hint %q", hint)
	}
}

func TestUnknownImage(t *testing.T) {
	reg := newRegistry(t)
	_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, mustReference(t, reg.host+"/no/such:tag"))
	wantKind(t, err, api.KindNotFound, "/no/such:tag does not exist")
}

func TestUnreachableRegistry(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	host := l.Addr().String()
	l.Close()
	_, _, err = pull(t, &Registry{Blobs: newBlobs(t)}, mustReference(t, host+"/a:b"))
	wantKind(t, err, api.KindNetwork, host)
}

// A manifest asked for by digest must have it, whatever the registry says.
func TestWrongManifestDigest(t *testing.T) {
	reg := newRegistry(t)
	reg.push(t, "app:v1", imageOf(t, tarOf(t, file("a", "x"))))
	other := "sha256:" + strings.Repeat("ab", 32)
	reg.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
		r.URL.Path = strings.Replace(r.URL.Path, other, "v1", 1)
		return false
	})
	_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, mustReference(t, reg.host+"/app@"+other))
	wantKind(t, err, api.KindVerification)
}

func TestForgedBlob(t *testing.T) {
	reg := newRegistry(t)
	data := tarOf(t, file("a", strings.Repeat("x", 5000)))
	ref := reg.push(t, "app:v1", imageOf(t, data))
	digest := digestString(data)
	forged := bytes.Clone(data)
	forged[600] ^= 1
	for name, body := range map[string][]byte{"flipped": forged, "long": append(bytes.Clone(data), 0), "short": data[:len(data)-1]} {
		t.Run(name, func(t *testing.T) {
			reg.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, digest) {
					w.(http.Flusher).Flush() // chunked: no Content-Length to give the lie away
					w.Write(body)
					return true
				}
				return false
			})
			blobs := newBlobs(t)
			_, _, err := pull(t, &Registry{Blobs: blobs}, ref)
			want := api.KindVerification
			if name == "short" { // looks like a connection that broke
				want = api.KindNetwork
			}
			wantKind(t, err, want, digest)
			if _, err := blobs.Open(digest); err == nil {
				t.Error("the forged blob was stored")
			}
		})
	}
}

// A blob that was damaged on disk is fetched again; an intact one is not.
func TestDamagedBlobIsRepaired(t *testing.T) {
	reg := newRegistry(t)
	data := tarOf(t, file("a", "intact"))
	ref := reg.push(t, "app:v1", imageOf(t, data))
	r := &Registry{Blobs: newBlobs(t)}
	_, _, err := pull(t, r, ref)
	check(t, err)
	digest := digestString(data)
	for _, damage := range []bool{false, true} {
		if damage {
			flipByte(t, r.Blobs.(*folderBlobs).path(digest), 520)
		}
		reg.intercepting(nil)
		_, tr, err := pull(t, r, ref)
		check(t, err)
		if diff := cmp.Diff([]string{"/a=intact"}, listing(t, tr)); diff != "" {
			t.Error(diff)
		}
		if n := reg.seen("/blobs/" + digest); (n == 1) != damage {
			t.Errorf("damage %v: the layer was fetched %d times", damage, n)
		}
	}
}

// The connection breaks twice; each time the rest is asked for by range.
func TestResume(t *testing.T) {
	reg := newRegistry(t)
	data := tarOf(t, file("a", strings.Repeat("resume", 100_000)))
	ref := reg.push(t, "app:v1", imageOf(t, data))
	digest := digestString(data)
	var ranges []string
	reg.intercepting(serveBroken(digest, data, 2, true, &ranges))
	_, tr, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	check(t, err)
	if len(listing(t, tr)) != 1 {
		t.Error("the layer was not unpacked")
	}
	if len(ranges) != 2 || ranges[0] == ranges[1] {
		t.Errorf("ranges asked for: %q", ranges)
	}
}

// Without ranges the download starts over, and still ends well.
func TestResumeWithoutRanges(t *testing.T) {
	reg := newRegistry(t)
	data := tarOf(t, file("a", strings.Repeat("resume", 100_000)))
	ref := reg.push(t, "app:v1", imageOf(t, data))
	reg.intercepting(serveBroken(digestString(data), data, 1, false, nil))
	_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	check(t, err)
}

// A pull that was given up leaves a partial file, which the next one continues;
// if what it left is wrong, the next one starts over instead of failing.
func TestResumeAcrossPulls(t *testing.T) {
	data := tarOf(t, file("a", strings.Repeat("resume", 100_000)))
	digest := digestString(data)
	for name, left := range map[string][]byte{
		"right": data[:300_000], "wrong": bytes.Repeat([]byte{7}, 300_000), "complete": data,
		"too long": append(bytes.Clone(data), 1), "empty": {},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			ref := reg.push(t, "app:v1", imageOf(t, data))
			var ranges []string
			reg.intercepting(serveBroken(digest, data, 0, true, &ranges))
			blobs := newBlobs(t)
			check(t, os.WriteFile(blobs.path(digest)+".part", left, 0o600))
			_, _, err := pull(t, &Registry{Blobs: blobs}, ref)
			check(t, err)
			if name == "right" && cmp.Diff([]string{fmt.Sprintf("bytes=300000-%d", len(data)-1)}, ranges) != "" {
				t.Errorf("ranges %q", ranges)
			}
			if name == "complete" && reg.seen(digest) != 0 {
				t.Error("a complete partial file was fetched again")
			}
		})
	}
}

// serveBroken answers for one blob and breaks the connection after 200 kB the
// first breaks times.
func serveBroken(digest string, data []byte, breaks int, withRanges bool, ranges *[]string) func(http.ResponseWriter, *http.Request) bool {
	broken := 0
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, digest) {
			return false
		}
		from := 0
		if h := r.Header.Get("Range"); h != "" && withRanges {
			*ranges = append(*ranges, h)
			fmt.Sscanf(h, "bytes=%d-", &from)
		}
		if withRanges {
			w.Header().Set("Accept-Ranges", "bytes")
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		rest := data[from:]
		if broken < breaks && (withRanges && from > 0 || len(rest) == len(data)) {
			// A request that is only made to be sought in is not one of the breaks.
			if from > 0 || broken == 0 {
				broken++
				w.Write(rest[:200_000])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}
		w.Write(rest)
		return true
	}
}

func TestDiffIDMismatch(t *testing.T) {
	reg := newRegistry(t)
	plain := tarOf(t, file("a", "x"))
	ref := reg.pushRaw(t, "app", rawImage{layers: []rawLayer{{mediaType: string(types.OCIUncompressedLayer), data: plain, plain: []byte("other")}}})
	_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	wantKind(t, err, api.KindVerification, "diff ID")
}

func TestHostileLayers(t *testing.T) {
	tests := []struct {
		name   string
		layer  []byte
		blames string
	}{
		{"dot dot", tarOf(t, file("a/../../etc/passwd", "x")), "a/../../etc/passwd"},
		{"hard link out", tarOf(t, hardlink("x", "../../etc/shadow")), "x"},
		{"hard link to nothing", tarOf(t, hardlink("x", "/no/such")), "x"},
		{"whiteout of itself", tarOf(t, file("d/.wh.", "")), ".wh."},
		{"whiteout of dot", tarOf(t, file("d/.wh..", "")), ".wh.."},
		{"whiteout of dot dot", tarOf(t, file("d/.wh...", "")), ".wh..."},
		{"unknown type", tarOf(t, entry{name: "odd", typ: 'Z'}), "odd"},
		{"cut short", tarOf(t, file("a", strings.Repeat("x", 4096)))[:1024], "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg := newRegistry(t)
			ref := reg.push(t, "evil:v1", imageOf(t, tarOf(t, dir("d/")), tt.layer))
			_, _, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
			if k := api.KindOf(err); k != api.KindUnsafe && k != api.KindVerification {
				t.Fatalf("error %v of kind %q", err, k)
			}
			if !strings.Contains(err.Error(), tt.blames) {
				t.Errorf("error %q does not name %q", err, tt.blames)
			}
		})
	}
}

// What climbs in its own tree stays there: absolute names and links are the guest's.
func TestHarmlessLookingOut(t *testing.T) {
	reg := newRegistry(t)
	ref := reg.push(t, "app:v1", imageOf(t, tarOf(t,
		file("/etc/abs", "x"), symlink("up", "../../../../"), file("up/landed", "y"), symlink("host", "/"), file("host/too", "z"))))
	_, tr, err := pull(t, &Registry{Blobs: newBlobs(t)}, ref)
	check(t, err)
	want := []string{"/etc", "/etc/abs=x", "/host->/", "/landed=y", "/too=z", "/up->../../../../"}
	if diff := cmp.Diff(want, listing(t, tr)); diff != "" {
		t.Error(diff)
	}
}

func TestDecompressionBomb(t *testing.T) {
	// A stream of zeros behind the end of the tar counts as well.
	img := &Image{Name: "bomb", Layers: []Layer{{Descriptor: Descriptor{MediaType: string(types.OCIUncompressedLayer), Size: 1 << 62}}}, source: zeros{}}
	small := func(string, io.Reader) error { return nil }
	stream := &boundedHash{r: zeroReader{}, left: 1 << 20, hash: sha256.New(), name: "bomb"}
	_, err := io.Copy(io.Discard, stream)
	wantKind(t, err, api.KindUnsafe, "bomb")
	_, err = img.flattenLayer(t.Context(), img.Layers[0], "bomb", 1<<20, &meter{report: func(int64, int64) {}}, small)
	wantKind(t, err, api.KindUnsafe, "bomb")
}

type zeros struct{}

func (zeros) fetch(context.Context, *Image, func(int64, int64)) error { return nil }
func (zeros) open(Layer) (io.ReadCloser, error)                       { return io.NopCloser(zeroReader{}), nil }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestCancelledPull(t *testing.T) {
	reg := newRegistry(t)
	data := tarOf(t, file("a", strings.Repeat("x", 1<<20)))
	ref := reg.push(t, "app:v1", imageOf(t, data))
	ctx, cancel := context.WithCancel(t.Context())
	reg.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, digestString(data)) {
			cancel()
			<-r.Context().Done()
			return true
		}
		return false
	})
	r := &Registry{Blobs: newBlobs(t)}
	img, err := r.Resolve(ctx, ref, amd64)
	check(t, err)
	wantKind(t, img.Fetch(ctx, nil), api.KindCanceled)
}

func TestCredentialsAndMirror(t *testing.T) {
	reg := newRegistry(t)
	ref := reg.push(t, "library/debian:12", imageOf(t, tarOf(t, file("a", "x"))))
	reg.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, _ := r.BasicAuth(); user == "me" && pass == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	config := filepath.Join(t.TempDir(), "config.json")
	check(t, os.WriteFile(config, fmt.Appendf(nil, `{"auths":{%q:{"auth":"bWU6c2VjcmV0"}}}`, reg.host), 0o600))
	_, _, err := pull(t, &Registry{Blobs: newBlobs(t), DockerConfig: config}, ref)
	check(t, err)
	_, _, err = pull(t, &Registry{Blobs: newBlobs(t), DockerConfig: config, Mirror: "http://" + reg.host + "/"}, mustReference(t, "debian:12"))
	check(t, err)
	_, _, err = pull(t, &Registry{Blobs: newBlobs(t), DockerConfig: filepath.Join(t.TempDir(), "config.json")}, ref)
	wantKind(t, err, api.KindNetwork, "refuses access")
}
