package patch_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/patch"
	"pyro/internal/tree"
)

// repository commits before, puts after in its place and stages that.
func repository(t *testing.T, before, after *tree.Tree) (dir string) {
	t.Helper()
	need(t, "git", "git")
	dir = t.TempDir()
	unpack(t, before, dir)
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "before")
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n.Name() != ".git" {
			os.RemoveAll(filepath.Join(dir, n.Name()))
		}
	}
	unpack(t, after, dir)
	git(t, dir, "add", "-A")
	return dir
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := run(dir, "", append([]string{"git", "-c", "core.autocrlf=false", "-c", "core.safecrlf=false"}, args...)...)
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return out
}

// TestLikeGit compares headers, lists and statistics with git's own.
func TestLikeGit(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			before, after := plainPair(t, r)
			d := compare(t, before, after, patch.Options{})
			dir := repository(t, before, after)
			diff := []string{"diff", "--cached", "--no-renames", "--no-color"}
			if diff := cmp.Diff(headers(git(t, dir, append(diff, "-p")...)), headers(d.Patch)); diff != "" {
				t.Errorf("other headers (-git +ours):\n%s", diff)
			}
			var names, stat strings.Builder
			if err := patch.NameOnly(&names, d.Entries); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(git(t, dir, append(diff, "--name-only")...), names.String()); diff != "" {
				t.Errorf("other names (-git +ours):\n%s", diff)
			}
			// git counts the lines of the hunks it finds; ours may be others.
			for _, columns := range []int{80, 50, 24, 200} {
				stat.Reset()
				want := git(t, dir, append(diff, fmt.Sprint("--stat=", columns), "--patience")...)
				if err := patch.Stat(&stat, d.Entries, columns); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, stat.String()); diff != "" {
					t.Errorf("other statistics in %d columns (-git +ours):\n%s\n%s", columns, diff, d.Patch)
				}
			}
		})
	}
}

// plainPair returns trees of which git knows all, with changes for which every
// shortest diff has the same number of lines.
func plainPair(t *testing.T, r *rand.Rand) (before, after *tree.Tree) {
	before, after = build(t, folder("")), build(t, folder(""))
	for i := range 1 + r.IntN(12) {
		path := fmt.Sprintf("%s%d", names[r.IntN(len(names))], i)
		if r.IntN(3) == 0 {
			path = strings.Repeat("some/folder/", 1+r.IntN(8)) + path
		}
		x := item{path, tree.Node{Mode: 0o644}, distinct(r, "x")}
		y := item{path, tree.Node{Mode: []uint32{0o644, 0o755}[r.IntN(2)]}, x.data + distinct(r, "y")}
		if r.IntN(4) == 0 {
			x, y = y, x
		}
		if r.IntN(6) == 0 {
			y.data = distinct(r, "z")
		}
		if r.IntN(6) == 0 {
			x, y = link(path, "a"), link(path, "b")
		}
		switch r.IntN(8) {
		case 0:
			put(t, before, x)
		case 1:
			put(t, after, y)
		default:
			put(t, before, x)
			put(t, after, y)
		}
	}
	return before, after
}

func distinct(r *rand.Rand, word string) string {
	var b strings.Builder
	for i := range r.IntN([]int{1, 4, 30, 900}[r.IntN(4)]) {
		fmt.Fprintf(&b, "%s %d\n", word, i)
	}
	return b.String()
}

var header = regexp.MustCompile(`(?m)^(diff --git|new file mode|deleted file mode|old mode|new mode|index|---|\+\+\+) .*$`)

// headers returns the lines about files in a patch. Names in quotes that need
// none in git's opinion lose them.
func headers(text string) []string {
	all := header.FindAllString(text, -1)
	for i, h := range all {
		if strings.HasPrefix(h, "diff --git ") && !strings.ContainsAny(h, `\`) {
			all[i] = strings.ReplaceAll(h, `"`, "")
		}
	}
	return all
}

func TestStat(t *testing.T) {
	before := build(t, file("bin", "\x00"), file("typ", ""), folder("d"), file("mode", "").mode(0o600))
	after := build(t, file("bin", "\x00\x00"), link("typ", "x"), folder("d").mode(0o700), folder("e"), file("mode", ""), file("a", "1\n"))
	d := compare(t, before, after, patch.Options{})
	for _, c := range []struct {
		what    string
		entries []patch.Entry
		columns int
		want    string
	}{
		{"nothing", nil, 0, ""},
		{"all", d.Entries, 0, " a    |   1 +\n bin  | Bin 1 -> 2 bytes\n mode |   0\n typ  | Bin 0 -> 1 bytes\n 4 files changed, 1 insertion(+)\n"},
		{"one", d.Entries[:1], 0, " a | 1 +\n 1 file changed, 1 insertion(+)\n"},
		{
			"narrow",
			[]patch.Entry{{Path: "a/very/long/path/of/a/file", Status: patch.Added, After: &patch.State{Type: patch.File}, LinesAdded: 100, LinesDeleted: 3}},
			30,
			" .../of/a/file   | 103 +++++-\n 1 file changed, 100 insertions(+), 3 deletions(-)\n",
		},
	} {
		var got strings.Builder
		if err := patch.Stat(&got, c.entries, c.columns); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
	var got strings.Builder
	if err := patch.NameOnly(&got, d.Entries); err != nil || got.String() != "a\nbin\nmode\ntyp\n" {
		t.Errorf("names are %q, %v", got.String(), err)
	}
}
