package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// shelf answers for each payload, which is a word, where the word stands in it.
type shelf string

func (s shelf) find(_ *tar.Header, payload io.Reader) (io.ReaderAt, int64, int64, error) {
	word, err := io.ReadAll(payload)
	if err != nil {
		return nil, 0, 0, err
	}
	return strings.NewReader(string(s)), int64(strings.Index(string(s), string(word))), int64(len(word)), nil
}

func TestData(t *testing.T) {
	const s = shelf("zero one two three")
	tr := treetest.New(t)
	asked := []string{}
	err := tr.ApplyTar(bytes.NewReader(archive(t,
		file("a", "one"), dir("d"), file("d/b", "two"), hardlink("h", "a"), symlink("l", "a"),
		file("skipped", "three"), hardlink("kept", "skipped"), file("empty", ""), file("big", strings.Repeat("ignored", 1000)),
	)), tree.ApplyOptions{
		Skip:   func(path string) bool { return path == "/skipped" },
		Limits: tree.Limits{Bytes: int64(len("one" + "two" + "three" + "zero"))},
		Data: func(h *tar.Header, payload io.Reader) (io.ReaderAt, int64, int64, error) {
			asked = append(asked, h.Name)
			if h.Name == "big" { // nobody has to read the payload
				return strings.NewReader(string(s)), 0, 4, nil
			}
			return s.find(h, payload)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for path, e := range treetest.Entries(t, tr) {
		if e.Type == tree.Regular.String() {
			got[path] = e.Data
		}
	}
	if d := cmp.Diff(map[string]string{"/a": "one", "/d/b": "two", "/h": "one", "/kept": "three", "/empty": "", "/big": "zero"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"a", "d/b", "skipped", "empty", "big"}, asked); d != "" {
		t.Error(d)
	}
}

func TestDataErrors(t *testing.T) {
	boom := errors.New("boom")
	src := strings.NewReader("x")
	for _, c := range []struct {
		name      string
		src       io.ReaderAt
		off, size int64
		err       error
		kind      api.Kind
		says      string
	}{
		{"plain error", nil, 0, 0, boom, api.KindUnsafe, "boom"},
		{"error with a kind", nil, 0, 0, api.Errorf(api.KindVerification, "torn"), api.KindVerification, "torn"},
		{"negative size", src, 0, -1, nil, api.KindUnsafe, "negative"},
		{"size beyond the limit", src, 0, 11, nil, api.KindUnsafe, "more than 10 bytes"},
		{"largest size", src, 0, 1<<63 - 1, nil, api.KindUnsafe, "more than 10 bytes"},
		{"negative offset", src, -1, 1, nil, api.KindInternal, "offset -1"},
		{"no source", nil, 0, 1, nil, api.KindInternal, "nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := treetest.New(t).ApplyTar(bytes.NewReader(archive(t, file("first", ""), file("f", "payload"))), tree.ApplyOptions{
				Name: "arc", Limits: tree.Limits{Bytes: 10},
				Data: func(h *tar.Header, _ io.Reader) (io.ReaderAt, int64, int64, error) {
					if h.Name == "first" {
						return nil, 0, 0, nil
					}
					return c.src, c.off, c.size, c.err
				},
			})
			if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `arc: entry "f"`) {
				t.Errorf("got %v (kind %s)", err, api.KindOf(err))
			}
		})
	}
}

// TestVisitChangesRecords: what a visitor takes off a header is not kept.
func TestVisitChangesRecords(t *testing.T) {
	tr := treetest.New(t)
	err := tr.ApplyTar(bytes.NewReader(archive(t, pax(file("f", "x"), "SCHILY.xattr.user.a", "b"))), tree.ApplyOptions{
		Visit: func(_ string, h *tar.Header) { delete(h.PAXRecords, "SCHILY.xattr.user.a") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := treetest.Entries(t, tr)["/f"]; len(got.Xattrs) > 0 || got.Data != "x" {
		t.Errorf("%+v", got)
	}
}
