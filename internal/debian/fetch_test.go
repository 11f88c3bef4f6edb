package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

// content is what the tests download.
var content = bytes.Repeat([]byte("0123456789abcdef"), 40<<10)

// serve answers each request with the next handler, the last one for ever.
func serve(t *testing.T, handlers ...http.HandlerFunc) (url string, ranges *[]string) {
	t.Helper()
	var mu sync.Mutex
	ranges = new([]string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := len(*ranges)
		*ranges = append(*ranges, r.Header.Get("Range"))
		mu.Unlock()
		handlers[min(n, len(handlers)-1)](w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/file", ranges
}

func whole(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func noRange(w http.ResponseWriter, r *http.Request) { w.Write(content) }

// cut breaks the connection after n bytes of the answer to a plain request.
func cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", code) }
}

func partial(contentRange string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		w.Write(body)
	}
}

func TestFetchFile(t *testing.T) {
	size := len(content)
	rest := func(from int) string { return fmt.Sprintf("bytes=%d-", from) }
	flipped := bytes.Clone(content)
	flipped[5] ^= 1
	for _, c := range []struct {
		name     string
		part     []byte // there before
		handlers []http.HandlerFunc
		ranges   []string
		kind     api.Kind // of the error, "" for success
		left     bool     // a part file is left behind
	}{
		{name: "plain", handlers: []http.HandlerFunc{whole}, ranges: []string{""}},
		{name: "resumed", part: content[:1000], handlers: []http.HandlerFunc{whole}, ranges: []string{rest(1000)}},
		{name: "complete part", part: content, handlers: []http.HandlerFunc{whole}, ranges: nil},
		{name: "part too long", part: append(bytes.Clone(content), 1), handlers: []http.HandlerFunc{whole}, ranges: []string{""}},
		{name: "no range honoured", part: content[:1000], handlers: []http.HandlerFunc{noRange}, ranges: []string{rest(1000)}},
		{name: "part of something else", part: flipped[:1000], handlers: []http.HandlerFunc{whole}, ranges: []string{rest(1000), ""}},
		{name: "whole of something else", part: flipped, handlers: []http.HandlerFunc{whole}, ranges: []string{""}},
		{name: "wrong range", part: content[:1000], handlers: []http.HandlerFunc{partial("bytes 0-9/10", content[:10]), whole}, ranges: []string{rest(1000), ""}},
		{name: "no content range", part: content[:1000], handlers: []http.HandlerFunc{partial("", content[1000:]), whole}, ranges: []string{rest(1000), ""}},
		{name: "range unsatisfiable", part: content[:1000], handlers: []http.HandlerFunc{status(416), whole}, ranges: []string{rest(1000), ""}},
		{name: "unasked range", handlers: []http.HandlerFunc{partial(fmt.Sprintf("bytes 0-%d/%d", size-1, size), content)}, ranges: []string{""}, kind: api.KindNetwork, left: true},
		{name: "cut off", handlers: []http.HandlerFunc{cut(100 << 10), whole}, ranges: []string{"", rest(100 << 10)}},
		{name: "cut off again and again", handlers: []http.HandlerFunc{cut(10), cut(20), cut(30), cut(40), whole}, ranges: []string{"", rest(10), rest(20), rest(30), rest(40)}},
		{name: "always cut off", handlers: []http.HandlerFunc{cut(10)}, ranges: []string{"", rest(10), rest(10)}, kind: api.KindNetwork, left: true},
		{name: "overloaded for a while", handlers: []http.HandlerFunc{status(503), status(429), whole}, ranges: []string{"", "", ""}},
		{name: "always broken", handlers: []http.HandlerFunc{status(500)}, ranges: []string{"", "", ""}, kind: api.KindNetwork, left: true},
		{name: "absent", handlers: []http.HandlerFunc{status(404)}, ranges: []string{""}, kind: api.KindNetwork, left: true},
		{name: "altered", handlers: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { w.Write(flipped) }}, ranges: []string{""}, kind: api.KindVerification},
		{name: "wrong length", handlers: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { w.Write(content[:7]) }}, ranges: []string{""}, kind: api.KindVerification},
		{name: "endless", handlers: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				w.Write(content)
			}
		}}, ranges: []string{""}, kind: api.KindVerification},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, ranges := serve(t, c.handlers...)
			path := filepath.Join(t.TempDir(), "f")
			if c.part != nil {
				if err := os.WriteFile(path+PartSuffix, c.part, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var arrived int64
			f := Fetcher{Backoff: time.Millisecond}
			err := f.File(t.Context(), Download{URL: url, Size: int64(size), SHA256: sha(content), Path: path, Progress: func(d int64) { arrived += d }})
			if api.KindOf(err) != c.kind {
				t.Errorf("the error is %v", err)
			}
			if d := cmp.Diff(c.ranges, append([]string(nil), *ranges...)); d != "" {
				t.Error("the ranges asked for:", d)
			}
			_, partErr := os.Stat(path + PartSuffix)
			if (partErr == nil) != c.left {
				t.Errorf("the part file: %v", partErr)
			}
			got, readErr := os.ReadFile(path)
			if c.kind == "" && (!bytes.Equal(got, content) || arrived != int64(size)) {
				t.Errorf("there are %d bytes, %d were counted", len(got), arrived)
			}
			if c.kind != "" && (readErr == nil || api.AsError(err).Hint == "") {
				t.Errorf("a file is there, or no hint: %v", err)
			}
		})
	}
}

func TestFetchWaitsForOther(t *testing.T) {
	var requests atomic.Int32
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		time.Sleep(50 * time.Millisecond)
		whole(w, r)
	})
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var f Fetcher
			if err := f.File(t.Context(), Download{URL: url, Size: int64(len(content)), SHA256: sha(content), Path: path}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests were made", n)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left are %v", files)
	}
}

func TestFetchStalls(t *testing.T) {
	release := make(chan struct{})
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:10])
		w.(http.Flusher).Flush()
		<-release
	}, whole)
	t.Cleanup(func() { close(release) })
	f := Fetcher{Backoff: time.Millisecond, Stall: 50 * time.Millisecond}
	path := filepath.Join(t.TempDir(), "f")
	if err := f.File(t.Context(), Download{URL: url, Size: int64(len(content)), SHA256: sha(content), Path: path}); err != nil {
		t.Error(err)
	}
}

func TestFetchCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(content[:10])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	var f Fetcher
	err := f.File(ctx, Download{URL: url, Size: int64(len(content)), SHA256: sha(content), Path: filepath.Join(t.TempDir(), "f")})
	if api.KindOf(err) != api.KindCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestFetchNoFolder(t *testing.T) {
	url, _ := serve(t, whole)
	var f Fetcher
	err := f.File(t.Context(), Download{URL: url, Size: 1, SHA256: sha(nil), Path: filepath.Join(t.TempDir(), "no", "f")})
	if api.KindOf(err) != api.KindStorage {
		t.Errorf("the error is %v", err)
	}
}

func TestFetchBytes(t *testing.T) {
	f := Fetcher{Backoff: time.Millisecond}
	url, _ := serve(t, status(502), cut(100), whole)
	if b, err := f.Bytes(t.Context(), url, int64(len(content))); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := f.Bytes(t.Context(), url, int64(len(content))-1); api.KindOf(err) != api.KindVerification {
		t.Errorf("the error is %v", err)
	}
	url, _ = serve(t, status(403))
	if _, err := f.Bytes(t.Context(), url, 10); api.KindOf(err) != api.KindNetwork || !strings.Contains(err.Error(), "403") {
		t.Errorf("the error is %v", err)
	}
	if _, err := f.Bytes(t.Context(), "http://%zz", 10); api.KindOf(err) != api.KindUsage {
		t.Errorf("the error is %v", err)
	}
}
