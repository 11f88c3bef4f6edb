package environment

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// TestMain turns the test binary into a small program when a test runs it again:
// another process that pulls from the same cache.
func TestMain(m *testing.M) {
	if name := os.Getenv("TEST_CHILD_PULL"); name != "" {
		os.Exit(childPull(name))
	}
	os.Exit(m.Run())
}

func childPull(name string) int {
	m, err := New(Options{CacheDir: os.Getenv("TEST_CHILD_CACHE"), Arch: "amd64", Getenv: noEnv})
	if err == nil {
		_, err = m.Pull(context.Background(), name, func(p api.Progress) { fmt.Println("phase=" + p.Phase) })
	}
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// child prepares another process that pulls name into the cache.
func child(t *testing.T, m *Manager, name string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "TEST_CHILD_PULL="+name, "TEST_CHILD_CACHE="+m.cache.dir)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func noEnv(string) string { return "" }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, kind api.Kind, parts ...string) {
	t.Helper()
	if api.KindOf(err) != kind {
		t.Fatalf("error %v has kind %q, want %q", err, api.KindOf(err), kind)
	}
	for _, p := range parts {
		if text := err.Error() + "\nhint: " + api.AsError(err).Hint; !strings.Contains(text, p) {
			t.Errorf("error %q does not hold %q", text, p)
		}
	}
}

// newManager returns a Manager with a cache of its own, which has no packages.
func newManager(t *testing.T, change func(*Options)) *Manager {
	t.Helper()
	o := Options{CacheDir: filepath.Join(t.TempDir(), "cache"), ConfigDir: t.TempDir(), Arch: "amd64", Getenv: noEnv}
	if change != nil {
		change(&o)
	}
	m, err := New(o)
	check(t, err)
	return m
}

// phases collects the phases of a run, each once.
type phases struct {
	mu   sync.Mutex
	list []string
}

func (p *phases) add(e api.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.list); n == 0 || p.list[n-1] != e.Phase {
		p.list = append(p.list, e.Phase)
	}
}

func (p *phases) has(phase string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(strings.Join(p.list, " ")+" ", phase+" ")
}

// images serves container images on loopback and counts what is asked for.
type images struct {
	host string

	mu        sync.Mutex
	content   map[string][]byte // by digest, and manifests by "repo:tag" too
	layerGets int
	slow      time.Duration // pause after each 64 KiB of a layer
	gate      chan struct{} // if set, layers are sent only once it is closed
}

func serveImages(t *testing.T) *images {
	s := &images{content: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *images) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/") // "", v2, repo, blobs|manifests, digest|tag
	if len(parts) != 5 {
		return
	}
	s.mu.Lock()
	data, ok := s.content[parts[4]]
	if !ok {
		data, ok = s.content[parts[2]+":"+parts[4]]
	}
	layer := parts[3] == "blobs" && !bytes.HasPrefix(data, []byte("{"))
	if layer {
		s.layerGets++
	}
	slow, gate := s.slow, s.gate
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if parts[3] == "manifests" {
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	if layer && gate != nil {
		<-gate
	}
	if layer && slow > 0 {
		w = &slowWriter{w, slow}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

type slowWriter struct {
	http.ResponseWriter
	pause time.Duration
}

func (s *slowWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var k int
		k, err = s.ResponseWriter.Write(p[:min(len(p), 64<<10)])
		n, p = n+k, p[k:]
		s.ResponseWriter.(http.Flusher).Flush()
		time.Sleep(s.pause)
	}
	return n, err
}

func (s *images) gets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.layerGets
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// add publishes an image with one layer and returns its docker:// name.
func (s *images) add(t *testing.T, repo string, layer []byte) string {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"created": "2026-01-02T03:04:05Z", "os": "linux", "architecture": "amd64", "config": map[string]any{"User": "app"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
	})
	check(t, err)
	desc := func(mt string, data []byte) map[string]any {
		return map[string]any{"mediaType": mt, "digest": digestOf(data), "size": len(data)}
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": desc("application/vnd.oci.image.config.v1+json", config),
		"layers": []any{desc("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	check(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, data := range [][]byte{config, manifest, layer} {
		s.content[digestOf(data)] = data
	}
	s.content[repo+":latest"] = manifest
	return "docker://" + s.host + "/" + repo
}

// layerOf makes a tar of files, name and content by turns.
func layerOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		check(t, w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg, ModTime: time.Unix(1e9, 0)}))
		_, err := io.WriteString(w, files[i+1])
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

// noise is content that is the same every time and does not compress.
func noise(n int) string {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{})
	src.Read(b)
	return string(b)
}

// contents lists the files of an installed environment as "path=content".
func contents(t *testing.T, m *Manager, name string) []string {
	t.Helper()
	img, err := m.Acquire(t.Context(), name)
	check(t, err)
	defer img.Release()
	files, release, err := m.openImage(img.Digest, t.TempDir())
	check(t, err)
	defer release()
	defer files.Close()
	var out []string
	check(t, files.Walk(func(p string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		b, err := files.ReadFile(p)
		out = append(out, p+"="+string(b[:min(len(b), 20)]))
		return err
	}))
	return out
}

// emptyTmp fails the test if work in progress was left behind.
func emptyTmp(t *testing.T, m *Manager) {
	t.Helper()
	entries, err := os.ReadDir(m.cache.tmp())
	check(t, err)
	if len(entries) != 0 {
		t.Errorf("left in tmp: %v", entries)
	}
}

// flip damages one byte of a file, keeping its time.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	st, err := os.Stat(path)
	check(t, err)
	data, err := os.ReadFile(path)
	check(t, err)
	data[at] ^= 0x40
	check(t, os.Remove(path))
	check(t, os.WriteFile(path, data, 0o600))
	check(t, os.Chtimes(path, st.ModTime(), st.ModTime()))
}
