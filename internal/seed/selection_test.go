package seed_test

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/seed"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// TestSelection: the files that are named come, with the folders on the way to
// them, and nothing else, whatever took a file's place.
func TestSelection(t *testing.T) {
	h := newHost(t)
	h.file("src/a.txt", "a")
	h.file("src/secret.txt", "secret")
	h.file("src/deep/er/b.txt", "b")
	h.file("was-a-file/secret.txt", "secret")
	h.file("outside/secret.txt", "secret")
	h.symlink("link", "src/a.txt")
	h.symlink("was-a-folder", "outside")
	only, err := seed.NewSelection([]string{
		"src/a.txt", "./src/deep/er/b.txt", "link", "was-a-file", "was-a-folder/secret.txt", "deleted/c.txt", "src/a.txt",
	})
	if err != nil {
		t.Fatal(err)
	}
	dest := treetest.New(t)
	report, err := seed.Folder(t.Context(), h.dir, dest, "/workspace", seed.Options{Only: only})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := dest.Walk(func(path string, _ *tree.Node) error {
		got = append(got, path)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"/", "/workspace", "/workspace/link", "/workspace/src", "/workspace/src/a.txt", "/workspace/src/deep", "/workspace/src/deep/er", "/workspace/src/deep/er/b.txt"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]string{
		`"deleted/c.txt" is not there, or not a file`, `"was-a-file" is not there, or not a file`, `"was-a-folder/secret.txt" is not there, or not a file`,
	}, words(report.Warnings)); diff != "" {
		t.Error(diff)
	}
	if report.Files != 2 || report.Entries != 6 {
		t.Errorf("%+v", report)
	}
}

func TestSelectionRefuses(t *testing.T) {
	for _, paths := range [][]string{nil, {"a", "/etc/passwd"}, {".."}, {"a/../../b"}, {""}, {"."}, {"a\x00b"}} {
		if _, err := seed.NewSelection(paths); api.KindOf(err) != api.KindUsage || api.AsError(err).Hint == "" {
			t.Errorf("%s: %v", strings.Join(paths, ","), err)
		}
	}
}
