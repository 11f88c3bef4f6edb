package feed_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/agent/unpack"
	"pyro/internal/agent/unpack/feed"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive is Changes of one file.
type archive struct{ err error }

func (a archive) WriteTar(_ context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	_ = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./f", Size: 1, Mode: 0o644, Uid: os.Geteuid(), Gid: os.Getegid()})
	_, _ = tw.Write([]byte("x"))
	if a.err != nil {
		return a.err
	}
	return tw.Close()
}

func TestSend(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	broken := api.Errorf(api.KindStorage, "broken")
	for _, test := range []struct {
		name    string
		ctx     context.Context
		changes archive
		kind    api.Kind
		commit  bool
	}{
		{"all", t.Context(), archive{}, "", true},
		{"archive fails", t.Context(), archive{broken}, api.KindStorage, false},
		{"canceled at the end", ended, archive{}, api.KindCanceled, false},
	} {
		var b bytes.Buffer
		err := feed.Send(test.ctx, &b, test.changes)
		if api.KindOf(err) != test.kind || feed.CommitSent(err) != test.commit {
			t.Errorf("%s: %v, commit sent %v", test.name, err, feed.CommitSent(err))
		}
		if got := strings.HasSuffix(b.String(), "commit\n"); got != test.commit {
			t.Errorf("%s: the stream has the commit word: %v, want %v", test.name, got, test.commit)
		}
		root := t.TempDir()
		_, err = unpack.Run(t.Context(), unpack.Options{Root: root}, &b)
		if (err == nil) != test.commit {
			t.Errorf("%s: unpacking says %v", test.name, err)
		}
	}
}

// failsAtCommit takes everything but the commit word.
type failsAtCommit struct{}

func (failsAtCommit) Write(b []byte) (int, error) {
	if string(b) == unpack.CommitWord {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestSendCommitFails(t *testing.T) {
	err := feed.Send(t.Context(), failsAtCommit{}, archive{})
	if !feed.CommitSent(err) || api.KindOf(err) != api.KindInternal || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v of kind %s", err, api.KindOf(err))
	}
}

func TestReadAnswer(t *testing.T) {
	for _, test := range []struct {
		stdout string
		answer unpack.Answer
		kind   api.Kind
		text   string
	}{
		{`{"files":1,"folders":2,"links":3,"bytes":4,"replaced":5}`, unpack.Answer{Files: 1, Folders: 2, Links: 3, Bytes: 4, Replaced: 5}, "", ""},
		{`{"error":{"kind":"disk_limit","message":"m"}}`, unpack.Answer{}, api.KindDiskLimit, "m"},
		{`{"error":{"kind":"conflict","message":"100%d"}}`, unpack.Answer{}, api.KindConflict, "100%d"},
		{`{"error":{"kind":"unsafe_content","message":"m"}}`, unpack.Answer{}, api.KindUnsafe, "m"},
		{`{"error":{"kind":"canceled","message":"m"}}`, unpack.Answer{}, api.KindCanceled, "m"},
		{`{"error":{"kind":"internal","message":"m"}}`, unpack.Answer{}, api.KindInternal, "m"},
		{`{"error":{"kind":"permission","message":"m"}}`, unpack.Answer{}, api.KindInternal, "m"},
		{``, unpack.Answer{}, api.KindInternal, "did not answer"},
		{`{}`, unpack.Answer{}, api.KindInternal, "says nothing"},
		{`{"files":"x"}`, unpack.Answer{}, api.KindInternal, "cannot be read"},
		{`{} {}`, unpack.Answer{}, api.KindInternal, "cannot be read"},
		{strings.Repeat(" ", 1<<20) + `{}`, unpack.Answer{}, api.KindInternal, "more than"},
	} {
		answer, err := feed.ReadAnswer([]byte(test.stdout))
		if answer != test.answer || api.KindOf(err) != test.kind || test.kind != "" && !strings.Contains(err.Error(), test.text) {
			t.Errorf("%.80q: %+v, %v of kind %s", test.stdout, answer, err, api.KindOf(err))
		}
	}
}

// read returns what the folder root holds as the tree of a guest.
func read(t *testing.T, root string) *tree.Tree {
	t.Helper()
	tr := treetest.New(t)
	_, err := seed.Folder(t.Context(), root, tr, "/workspace", seed.Options{Strict: true, Root: "/workspace"})
	must(t, err)
	return tr
}

// TestPushTwice: a folder of the host is pushed, changes, and what changed is
// pushed after it. The workspace then holds what the folder does.
func TestPushTwice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skipf("needs root, since what is pushed belongs to root")
	}
	host, root := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		must(t, os.MkdirAll(filepath.Join(host, filepath.Dir(name)), 0o755))
		must(t, os.WriteFile(filepath.Join(host, name), []byte(text), 0o644))
	}
	write("a/b/f", "one")
	write("a/same", "same")
	write("type", "file")
	must(t, os.Symlink("a", filepath.Join(host, "l")))
	must(t, os.Link(filepath.Join(host, "a/b/f"), filepath.Join(host, "h")))
	push := func() unpack.Answer {
		t.Helper()
		source, err := seed.Open(host)
		must(t, err)
		defer source.Close()
		plan, err := source.Plan(t.Context(), seed.Present{Tree: read(t, root)}, "/workspace/src", seed.Options{Strict: true, Root: "/workspace"})
		must(t, err)
		defer plan.Close()
		in, out := io.Pipe()
		go func() { out.CloseWithError(feed.Send(t.Context(), out, plan.Changes)) }()
		answer, err := unpack.Run(t.Context(), unpack.Options{Root: root, Dest: "src"}, in)
		must(t, err)
		in.Close()
		return answer
	}
	same := func() {
		t.Helper()
		source, err := seed.Open(host)
		must(t, err)
		defer source.Close()
		plan, err := source.Plan(t.Context(), seed.Present{Tree: read(t, root)}, "/workspace/src", seed.Options{Strict: true, Root: "/workspace"})
		must(t, err)
		defer plan.Close()
		if len(plan.Changes.Entries) > 0 || plan.NewDest {
			t.Errorf("after the push these differ: %+v", plan.Changes.Entries)
		}
	}
	if diff := cmp.Diff(unpack.Answer{Files: 3, Folders: 2, Links: 2, Bytes: 11}, push()); diff != "" {
		t.Errorf("first answer (-want +got):\n%s", diff)
	}
	same()
	write("a/b/f", "ONE and more")
	write("a/new/g", "two")
	must(t, os.Remove(filepath.Join(host, "type")))
	write("type/x", "three")
	if diff := cmp.Diff(unpack.Answer{Files: 3, Folders: 2, Links: 1, Bytes: 20, Replaced: 3}, push()); diff != "" {
		t.Errorf("second answer (-want +got):\n%s", diff)
	}
	same()
}
