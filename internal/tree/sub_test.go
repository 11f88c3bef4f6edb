package tree_test

import (
	"testing"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

func TestSubIsTheFolderItself(t *testing.T) {
	whole, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if err := whole.PutFile("/a/b/old", 0o644, time.Time{}, []byte("old")); err != nil {
		t.Fatal(err)
	}
	sub, err := whole.Sub("/a")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sub.ReadFile("/b/old"); err != nil || string(got) != "old" {
		t.Errorf("the sub tree has %q, %v", got, err)
	}
	if err := sub.PutFile("/b/new", 0o644, time.Time{}, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := whole.ReadFile("/a/b/new"); err != nil || string(got) != "new" {
		t.Errorf("the whole tree has %q, %v", got, err)
	}
	if _, err := whole.Sub("/a/b/old"); api.KindOf(err) != api.KindConflict {
		t.Errorf("a file as a tree: %v", err)
	}
	if _, err := whole.Sub("/nothing"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("nothing as a tree: %v", err)
	}
}
