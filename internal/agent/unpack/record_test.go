package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// recorded makes a whole stream of entries that may have records: "-NAME" removes
// a name, "NAME?WANT" at the end of an entry expects WANT at its path.
func recorded(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e, want, expects := strings.Cut(e, "?")
		name, removes := strings.CutPrefix(e, "-")
		if removes {
			e = name + "="
		}
		h, data := header(e)
		h.PAXRecords = map[string]string{}
		if removes {
			h.PAXRecords[RecordRemove] = "1"
		}
		if expects {
			h.PAXRecords[RecordExpect] = want
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(data))
		must(t, err)
	}
	must(t, w.Close())
	return append(b.Bytes(), CommitWord...)
}

func TestRecords(t *testing.T) {
	tree := []string{"a/f=1", "a/l->f", "a/only/deep/g=2", "b/f=3", "d/x=4", "top=5"}
	all := []string{"a/", "a/f=1", "a/l->f", "a/only/", "a/only/deep/", "a/only/deep/g=2", "b/", "b/f=3", "d/", "d/x=4", "top=5"}
	for _, test := range []struct {
		name    string
		entries []string
		tree    []string // nil if nothing changes
		kind    Kind
		text    string
	}{
		{"remove", []string{"-a/f", "-a/l"}, []string{"a/", "a/only/", "a/only/deep/", "a/only/deep/g=2", "b/", "b/f=3", "d/", "d/x=4", "top=5"}, "", ""},
		{"empty folders go", []string{"-a/only/deep/g", "-b/f"}, []string{"a/", "a/f=1", "a/l->f", "d/", "d/x=4", "top=5"}, "", ""},
		{"move", []string{"-b/f", "b/g=3"}, []string{"a/", "a/f=1", "a/l->f", "a/only/", "a/only/deep/", "a/only/deep/g=2", "b/", "b/g=3", "d/", "d/x=4", "top=5"}, "", ""},
		{"file becomes folder", []string{"-top", "top/in=6"}, append(all[:10:10], "top/", "top/in=6"), "", ""},
		{"folder becomes file", []string{"-d/x", "d=7"}, append(all[:8:8], "d=7", "top=5"), "", ""},
		{"remove and write", []string{"-top", "top->a"}, append(all[:10:10], "top->a"), "", ""},
		{"remove what is not there", []string{"new=1", "-a/none"}, nil, Conflict, "a/none"},
		{"remove below a link", []string{"-a/l/x"}, nil, Conflict, "not a folder"},
		{"remove a folder", []string{"-a/f", "-a/only"}, nil, Conflict, "is a folder"},
		{"remove the root", []string{"-."}, nil, Unsafe, "has no name"},
		{"remove outside", []string{"-../x"}, nil, Unsafe, ".."},
		{"remove twice", []string{"-top", "-top"}, nil, Conflict, "top"},
		{"expected", []string{"top=6?sha256:" + sum([]byte("5")), "-a/l?link:" + sum([]byte("f")), "n=1?absent", "b/f=4?file", "c/m=1?file"}, []string{
			"a/", "a/f=1", "a/only/", "a/only/deep/", "a/only/deep/g=2", "b/", "b/f=4", "c/", "c/m=1", "d/", "d/x=4", "n=1", "top=6",
		}, "", ""},
		{"another content", []string{"new=1", "top=6?sha256:" + sum([]byte("4"))}, nil, Conflict, "its content is another one"},
		{"gone", []string{"none=6?sha256:" + sum([]byte("4"))}, nil, Conflict, "nothing is there any more"},
		{"there already", []string{"top=6?absent"}, nil, Conflict, "something is there already"},
		{"no file", []string{"a/l=6?file"}, nil, Conflict, "no regular file"},
		{"a folder", []string{"a=6?file"}, nil, Conflict, "no regular file"},
		{"another target", []string{"-a/l?link:" + sum([]byte("g"))}, nil, Conflict, "something else"},
		{"unknown words", []string{"top=6?whatever"}, nil, Conflict, "something else"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			plant(t, root, tree...)
			before := everything(t, root)
			_, err := Run(t.Context(), Options{Root: root}, bytes.NewReader(recorded(t, test.entries...)))
			if test.kind != "" {
				wantError(t, err, test.kind, test.text)
				if diff := cmp.Diff(before, everything(t, root)); diff != "" {
					t.Errorf("the tree has changed (-before +after):\n%s", diff)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(test.tree, names(t, root)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRecordsUndo fails each step of a commit with removals in turn.
func TestRecordsUndo(t *testing.T) {
	s := recorded(t, "-a/only/deep/g", "-b/f", "-top", "top/in=6", "a/f=2", "new/n=1", "-d/x", "d=7")
	for k := 0; ; k++ {
		root := t.TempDir()
		plant(t, root, "a/f=1", "a/l->f", "a/only/deep/g=2", "b/f=3", "d/x=4", "top=5")
		before := everything(t, root)
		count, failed := 0, ""
		err := runWith(context.Background(), Options{Root: root}, s, func(op, path string) error {
			if op == "undo" {
				return nil
			}
			if count++; count == k+1 {
				failed = op + " " + path
				return unix.ENOSPC
			}
			return nil
		})
		if failed == "" {
			must(t, err)
			break
		}
		wantError(t, err, DiskLimit, "full")
		if diff := cmp.Diff(before, everything(t, root)); diff != "" {
			t.Fatalf("step %d, %s: the tree has changed (-before +after):\n%s", k, failed, diff)
		}
	}
}

// TestExpectedIsNotOpened: what is compared is a regular file or it is not opened;
// a fifo would keep the agent for ever.
func TestExpectedIsNotOpened(t *testing.T) {
	root := t.TempDir()
	must(t, unix.Mkfifo(root+"/f", 0o600))
	_, err := Run(t.Context(), Options{Root: root}, bytes.NewReader(recorded(t, "f=1?sha256:"+sum(nil))))
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Conflict {
		t.Errorf("error %v", err)
	}
}
