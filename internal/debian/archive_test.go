package debian

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/klauspost/compress/zstd"

	"pyro/internal/tree"
)

// archive is a small true Debian archive: signed, hashed, served over HTTP.
type archive struct {
	t        *testing.T
	key      *openpgp.Entity
	url      string
	date     time.Time
	packages map[string][]string // suite to paragraphs

	mu    sync.Mutex // guards files and asked
	files map[string][]byte
	asked []string // paths of all requests
}

// archiveDate is the Date of releases unless a test wants another.
var archiveDate = time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)

func newArchive(t *testing.T) *archive {
	t.Helper()
	key, err := newTestKey()
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{t: t, key: key, date: archiveDate, packages: map[string][]string{}, files: map[string][]byte{}}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	a.url = srv.URL + "/debian"
	return a
}

// newTestKey makes a key of a kind that is quick to make.
func newTestKey() (*openpgp.Entity, error) {
	return openpgp.NewEntity("test archive", "", "archive@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	b, ok := a.files[r.URL.Path]
	a.asked = append(a.asked, r.URL.Path)
	a.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (a *archive) put(path string, b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files[path] = b
}

func (a *archive) get(path string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.files[path]
}

// asks counts the requests whose path contains s.
func (a *archive) asks(s string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, p := range a.asked {
		if strings.Contains(p, s) {
			n++
		}
	}
	return n
}

// pkg describes a package to be made.
type pkg struct {
	name, version string
	fields        string // further lines of the control file
	control       map[string]string
	data          []tar.Header // with the contents of files in files
	files         map[string]string
	compression   string // of data.tar, ".xz" by default
}

// add makes a .deb, puts it into the pool and lists it in a suite. It returns
// the path of the .deb.
func (a *archive) add(suite string, p pkg) string {
	a.t.Helper()
	b := p.deb(a.t)
	path := fmt.Sprintf("/debian/pool/%s_%s.deb", p.name, p.version)
	a.put(path, b)
	a.packages[suite] = append(a.packages[suite], fmt.Sprintf("%sFilename: %s\nSize: %d\nSHA256: %s\n",
		p.controlFile(), strings.TrimPrefix(path, "/debian/"), len(b), sha(b)))
	return path
}

func (p pkg) controlFile() string {
	s := fmt.Sprintf("Package: %s\nVersion: %s\n%s", p.name, p.version, p.fields)
	if !strings.Contains(s, "Architecture:") {
		s += "Architecture: amd64\n"
	}
	return s
}

func (p pkg) deb(t testing.TB) []byte {
	control := []tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "./control", Mode: 0o644}}
	files := map[string]string{"./control": p.controlFile()}
	for name, text := range p.control {
		control = append(control, tar.Header{Name: "./" + name, Mode: 0o755})
		files["./"+name] = text
	}
	suffix := p.compression
	if suffix == "" {
		suffix = ".xz"
	}
	return arFile(
		arEntry{"debian-binary", []byte("2.0\n")},
		arEntry{"control.tar.gz", compress(t, ".gz", tarFile(t, control, files))},
		arEntry{"data.tar" + strings.TrimSuffix(suffix, ".none"), compress(t, suffix, tarFile(t, p.data, p.files))},
	)
}

type arEntry struct {
	name string
	data []byte
}

func arFile(entries ...arEntry) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", e.name, 0, 0, 0, "100644", len(e.data))
		b.Write(e.data)
		if len(e.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func tarFile(t testing.TB, headers []tar.Header, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		h.Size = int64(len(files[h.Name]))
		if h.ModTime.IsZero() {
			h.ModTime = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
		}
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[h.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		return storedXZ(data)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		return data
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// publish writes the index of a suite and signs its release.
func (a *archive) publish(suite string) {
	a.t.Helper()
	index := []byte(strings.Join(a.packages[suite], "\n"))
	a.sign(suite, a.release(suite, index))
}

// release puts the index files in place and returns the text of the Release.
func (a *archive) release(suite string, index []byte) string {
	a.t.Helper()
	dist := "/debian/dists/" + suite
	text := fmt.Sprintf("Origin: Debian\nSuite: old%s\nCodename: %s\nDate: %s\nAcquire-By-Hash: yes\nSHA256:\n",
		suite, suite, a.date.Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	for _, suffix := range []string{"", ".gz"} {
		b := compress(a.t, suffix, index)
		text += fmt.Sprintf(" %s %d main/binary-amd64/Packages%s\n", sha(b), len(b), suffix)
		a.put(dist+"/main/binary-amd64/Packages"+suffix, b)
		a.put(dist+"/main/binary-amd64/by-hash/SHA256/"+sha(b), b)
	}
	return text
}

// sign puts the InRelease file with that text in place.
func (a *archive) sign(suite, text string) {
	a.put("/debian/dists/"+suite+"/InRelease", signText(a.t, a.key, text))
}

func signText(t testing.TB, key *openpgp.Entity, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// options build from the archive with an empty cache.
func (a *archive) options(packages ...string) Options {
	return Options{
		Mirrors: Mirrors{Main: a.url, Security: a.url}, Suites: []string{"bookworm"}, Arch: "amd64", Packages: packages,
		Blobs: blobDir(a.t.TempDir()), SpoolDir: a.t.TempDir(), Configure: fakeDpkg,
		Keys: Keyring{openpgp.EntityList{a.key}}, Now: func() time.Time { return archiveDate.Add(time.Hour) },
		Fetcher: &Fetcher{Backoff: time.Millisecond},
	}
}

// file and dir are entries of packages.
func file(name string, mode int64) tar.Header { return tar.Header{Name: "." + name, Mode: mode} }

func dir(name string) tar.Header {
	return tar.Header{Name: "." + name + "/", Typeflag: tar.TypeDir, Mode: 0o755}
}

// fakeDpkg does what dpkg would in a sandbox as far as the tree is concerned: it
// marks all packages as installed, and leaves logs, locks and volatile files.
func fakeDpkg(_ context.Context, job Job) (io.ReadCloser, error) {
	status, err := job.Tree.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	files := map[string]string{
		"./var/lib/dpkg/status":     strings.ReplaceAll(string(status), "install ok unpacked", "install ok installed"),
		"./var/lib/dpkg/status-old": "old",
		"./var/log/dpkg.log":        now.String(),
		"./run/lock":                "x",
		"./etc/passwd":              "root:x:0:0::/root:/bin/sh\n",
		"./.pyro/log":               now.String(),
	}
	var headers []tar.Header
	for _, name := range []string{"./var/lib/dpkg/status", "./var/lib/dpkg/status-old", "./var/log/dpkg.log", "./run/lock", "./etc/passwd", "./.pyro/log"} {
		headers = append(headers, tar.Header{Name: name, Mode: 0o644, ModTime: now})
	}
	headers = append(headers, tar.Header{Name: "./etc/unwanted", Typeflag: tar.TypeChar})
	for i := range job.Packages {
		fmt.Fprintf(job.Output, "status: p%d: half-configured\nstatus: p%d: installed\n", i, i)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		h.Size = int64(len(files[h.Name]))
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		io.WriteString(w, files[h.Name])
	}
	return io.NopCloser(&b), w.Close()
}

func readTree(t *testing.T, tr *tree.Tree, path string) string {
	t.Helper()
	b, err := tr.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func blobPath(o Options, b []byte) string { return filepath.Join(string(o.Blobs.(blobDir)), sha(b)) }
