package machines

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/api"
)

func TestRecord(t *testing.T) {
	type record struct{ A, B int }
	dir := t.TempDir()
	if _, err := ReadRecord[record](dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a record: %v", err)
	}
	for _, want := range []record{{1, 2}, {3, 4}} {
		if err := WriteRecord(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadRecord[record](dir); err != nil || got != want {
			t.Errorf("read %v, %v, want %v", got, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(`{"A":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRecord[record](dir); err == nil {
		t.Error("half a record was read")
	}
}

func TestDir(t *testing.T) {
	d := Dir(t.TempDir())
	for _, id := range []string{"b", "a"} {
		if err := os.Mkdir(d.Of(id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.List()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := Dir(d.Of("none")).List(); api.KindOf(err) != api.KindStorage {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestStorageError(t *testing.T) {
	for hint, err := range map[string]error{
		"env prune":      &fs.PathError{Op: "write", Path: "/x", Err: unix.ENOSPC},
		"PYRO_STATE_DIR": &fs.PathError{Op: "open", Path: "/x", Err: unix.EACCES},
		"":               errors.New("odd"),
	} {
		e := StorageError("sandbox a", err)
		if e.Kind != api.KindStorage || !errors.Is(e, err) || !strings.Contains(e.Message, "sandbox a") || !strings.Contains(e.Hint, hint) || hint == "" && e.Hint != "" {
			t.Errorf("%v: %+v", err, e)
		}
	}
}

func TestTable(t *testing.T) {
	var table Table[*int]
	first, second := new(int), new(int)
	if table.Get("a") != nil || len(table.All()) != 0 {
		t.Error("a new table holds something")
	}
	table.Put("a", first)
	table.Put("a", second)
	table.Drop("a", first) // whose place was taken
	if table.Get("a") != second {
		t.Error("the machine was dropped for another one")
	}
	table.Drop("a", second)
	if table.Get("a") != nil {
		t.Error("the machine is still held")
	}
}

func TestLife(t *testing.T) {
	l := NewLife("vm-1")
	if err := l.Err(); err != nil {
		t.Errorf("a running machine has ended: %v", err)
	}
	broken := errors.New("connection reset")
	if err := l.OrEnded(broken); !errors.Is(err, broken) || api.KindOf(err) != api.KindInternal || !strings.Contains(err.Error(), "vm-1") {
		t.Errorf("an error of a running machine became %v", err)
	}
	why := api.Errorf(api.KindSandboxDied, "sandbox vm-1 has ended")
	go l.End(why)
	l.Wait()
	if l.Err() != why || l.OrEnded(broken) != why {
		t.Errorf("ended with %v, %v", l.Err(), l.OrEnded(broken))
	}
}

func TestLetGo(t *testing.T) {
	l, released := NewLife("vm-1"), 0
	for range 2 {
		l.LetGo(func() { released++ })
	}
	l.Wait()
	<-l.Closed()
	if released != 1 {
		t.Errorf("released %d times", released)
	}
	if l.Err() != nil {
		t.Error("a machine that was let go has ended")
	}
}

func TestEmptyImage(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second time it is there
		path, err := EmptyImage(dir)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Size() == 0 || st.Mode().Perm() != 0o444 {
			t.Errorf("%v, %v", st, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
