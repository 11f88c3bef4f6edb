package patch_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/patch"
)

// long is a line of a mebibyte.
var long = strings.Repeat("x", 1<<20)

// pairCase is a pair of trees of which one knows what must come out.
type pairCase struct {
	name          string
	before, after []item
	types         bool // Options.TypeChanges
	// git and patch apply the patch; patch cannot do all of it.
	gitOnly bool
	want    []string // "status path [artifact before] artifact [reason]" of each entry
	patch   string   // the whole of it; not compared when "*"
}

var textCases = []pairCase{
	{name: "nothing", before: []item{file("a", "x\n")}, after: []item{file("a", "x\n")}},
	{name: "no folder at all", want: nil},
	{
		name: "new file", after: []item{file("a", "1\n2\n")}, want: []string{"added a file"},
		patch: "diff --git a/a b/a\nnew file mode 100644\nindex 0000000..1191247\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,2 @@\n+1\n+2\n",
	},
	{
		name: "deleted file", before: []item{script("a", "1\n")}, want: []string{"deleted a file"},
		patch: "diff --git a/a b/a\ndeleted file mode 100755\nindex d00491f..0000000\n--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n",
	},
	{
		name: "new and deleted empty files", before: []item{file("a", "")}, after: []item{script("b", "")},
		want:  []string{"deleted a file", "added b file"},
		patch: "diff --git a/a b/a\ndeleted file mode 100644\nindex e69de29..0000000\ndiff --git a/b b/b\nnew file mode 100755\nindex 0000000..e69de29\n",
	},
	{
		name: "empty to not empty, and back", before: []item{file("a", ""), file("b", "1\n")}, after: []item{file("a", "1\n"), file("b", "")},
		want: []string{"modified a file", "modified b file"},
		patch: "diff --git a/a b/a\nindex e69de29..d00491f 100644\n--- a/a\n+++ b/a\n@@ -0,0 +1 @@\n+1\n" +
			"diff --git a/b b/b\nindex d00491f..e69de29 100644\n--- a/b\n+++ b/b\n@@ -1 +0,0 @@\n-1\n",
	},
	{
		name: "mode alone", before: []item{file("a", "1\n"), script("b", "\x00")}, after: []item{script("a", "1\n"), file("b", "\x00")},
		want: []string{"modified a file", "modified b file"},
		patch: "diff --git a/a b/a\nold mode 100644\nnew mode 100755\n" +
			"diff --git a/b b/b\nold mode 100755\nnew mode 100644\n",
	},
	{
		name: "mode and contents", before: []item{file("a", "1\n")}, after: []item{script("a", "2\n")}, want: []string{"modified a file"},
		patch: "diff --git a/a b/a\nold mode 100644\nnew mode 100755\nindex d00491f..0cfbf08\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n",
	},
	{
		name: "bits of the mode that git has not", before: []item{file("a", "1\n"), folder("d")}, after: []item{file("a", "1\n").mode(0o4600), folder("d").mode(0o1777)},
		want: []string{"modified a file permissions", "modified d directory directory"},
	},
	{
		name: "newline at the end goes", before: []item{file("a", "1\n2\n")}, after: []item{file("a", "1\n2")}, want: []string{"modified a file"},
		patch: "diff --git a/a b/a\nindex 1191247..7a754f4 100644\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\n-2\n+2\n\\ No newline at end of file\n",
	},
	{
		name: "newline at the end comes", before: []item{file("a", "1\n2")}, after: []item{file("a", "1\n2\n3\n")}, want: []string{"modified a file"},
		patch: "diff --git a/a b/a\nindex 7a754f4..01e79c3 100644\n--- a/a\n+++ b/a\n@@ -1,2 +1,3 @@\n 1\n-2\n\\ No newline at end of file\n+2\n+3\n",
	},
	{
		name: "no newline on either side", before: []item{file("a", "1\n2\n3")}, after: []item{file("a", "0\n2\n3")}, want: []string{"modified a file"},
		patch: "diff --git a/a b/a\nindex 5f5fbe7..ac0ea60 100644\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n-1\n+0\n 2\n 3\n\\ No newline at end of file\n",
	},
	{
		name: "line ends", before: []item{file("a", "1\r\n2\r\n3\n")}, after: []item{file("a", "1\r\n2\n3\n")}, want: []string{"modified a file"},
		patch: "diff --git a/a b/a\nindex 62beda8..bb27ae0 100644\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 1\r\n-2\r\n+2\n 3\n",
	},
	{
		name: "link", before: []item{link("l", "old"), link("gone", "x")}, after: []item{link("l", "new"), link("made", "y\n")},
		want: []string{"deleted gone symlink", "modified l symlink", "added made symlink"},
		patch: "diff --git a/gone b/gone\ndeleted file mode 120000\nindex c1b0730..0000000\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n" +
			"diff --git a/l b/l\nindex 489ce0f..3e5126c 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-old\n\\ No newline at end of file\n+new\n\\ No newline at end of file\n" +
			"diff --git a/made b/made\nnew file mode 120000\nindex 0000000..975fbec\n--- /dev/null\n+++ b/made\n@@ -0,0 +1 @@\n+y\n",
	},
}

var typeCases = []pairCase{
	{
		name: "file and link change places", before: []item{file("a", "1\n"), link("b", "x"), file("c", "")}, after: []item{link("a", "x"), file("b", "1\n"), link("c", "x")},
		want: []string{"type_changed a file symlink type_changed", "type_changed b symlink file type_changed", "type_changed c file symlink type_changed"},
	},
	{
		name: "file and link change places in the patch", before: []item{file("a", "1\n"), link("b", "x"), file("c", "")}, after: []item{link("a", "x"), file("b", "1\n"), link("c", "x")},
		types: true,
		want:  []string{"type_changed a file symlink", "type_changed b symlink file", "type_changed c file symlink"}, patch: "*",
	},
	{
		name: "file becomes folder", before: []item{file("a", "1\n")}, after: []item{file("a/b", "1\n"), folder("a/c"), file("a/c/d", "")},
		want: []string{"type_changed a file directory type_changed", "added a/b file parent", "added a/c directory directory", "added a/c/d file parent"},
	},
	{
		name: "file becomes folder in the patch", before: []item{file("a", "1\n")}, after: []item{file("a/b", "1\n"), file("a/c/d", "")},
		types: true, gitOnly: true,
		want: []string{"type_changed a file directory", "added a/b file", "added a/c directory directory", "added a/c/d file"}, patch: "*",
	},
	{
		name: "binary file becomes folder", before: []item{file("a", "\x00")}, after: []item{file("a/b", "1\n")}, types: true,
		want: []string{"type_changed a file directory binary", "added a/b file parent"},
	},
	{
		name: "link becomes folder", before: []item{link("a", "a")}, after: []item{file("a/b", "1\n")}, types: true,
		want: []string{"type_changed a symlink directory type_changed", "added a/b file parent"},
	},
	{
		name: "folder becomes file", before: []item{file("a/b", "1\n")}, after: []item{file("a", "1\n")}, types: true,
		want: []string{"type_changed a directory file type_changed", "deleted a/b file"}, patch: "*",
	},
	{
		name: "folder becomes link", before: []item{file("a/b", "1\n")}, after: []item{link("a", "x")},
		want: []string{"type_changed a directory symlink type_changed", "deleted a/b file"}, patch: "*",
	},
}

var otherCases = []pairCase{
	{
		name: "deleted folder", before: []item{file("a/b/c", "1\n"), file("a/d", "\x00"), folder("a/e"), file("a-b", "")}, after: []item{file("a-b", "")},
		want: []string{"deleted a directory directory", "deleted a/b directory directory", "deleted a/b/c file", "deleted a/d file binary", "deleted a/e directory directory"}, patch: "*",
	},
	{
		name: "order of whole paths", after: []item{file("a/b", ""), file("a-b", ""), file("a.b", ""), file("ab", "")},
		want: []string{"added a directory directory", "added a-b file", "added a.b file", "added a/b file", "added ab file"}, patch: "*",
	},
	{
		name: "what is neither file nor link", before: []item{fifo("f")}, after: []item{fifo("f").mode(0o600), fifo("g")},
		want: []string{"modified f fifo special", "added g fifo special"},
	},
	{
		name: "binary", before: []item{file("a", "1\x00"), file("b", "1\n"), file("late", strings.Repeat("1234567\n", 1000))},
		after: []item{file("a", "2\x00"), file("b", "\x00"), file("late", strings.Repeat("1234567\n", 1000)+"\x00\n")},
		want:  []string{"modified a file binary", "modified b file binary", "modified late file"}, patch: "*",
	},
	{
		name: "folders of git", before: []item{file(".git/HEAD", "1\n")},
		after: []item{
			file(".git/HEAD", "2\n"), file("sub/.GIT/x", "\n"), file(".git. /x", "\n"), file("git~1", "\n"), file(`a\.git`, "\n"), file(".git:x", "\n"),
			link(".gitmodules", "x"), file(".gitignore", "x\n"), file("s/.gitmodules", "x\n"), file("x.git/y", "1\n"),
		},
		want: []string{
			"added .git.  directory directory", "added .git. /x file name", "modified .git/HEAD file name", "added .git:x file name", "added .gitignore file", "added .gitmodules symlink name",
			`added a\.git file name`, "added git~1 file name", "added s directory directory", "added s/.gitmodules file", "added sub directory directory", "added sub/.GIT directory directory",
			"added sub/.GIT/x file name", "added x.git directory directory", "added x.git/y file",
		}, patch: "*",
	},
	{
		name: "huge line", before: []item{file("a", "1\n"+long+"\n2\n")}, after: []item{file("a", "1\n"+long+"y\n2\n")}, want: []string{"modified a file"}, patch: "*",
	},
	{
		name: "names with folders of the patch", before: []item{file("a/b", "1\n"), file("b/a", "1\n")}, after: []item{file("a/b", "2\n"), file("b/a", "2\n")},
		want: []string{"modified a/b file", "modified b/a file"}, patch: "*",
	},
}

// TestCases applies the patch of each with git and with GNU patch.
func TestCases(t *testing.T) {
	for _, c := range slices.Concat(textCases, typeCases, otherCases) {
		t.Run(c.name, func(t *testing.T) {
			before, after := build(t, c.before...), build(t, c.after...)
			o := patch.Options{TypeChanges: c.types}
			d := compare(t, before, after, o)
			var got []string
			for _, e := range d.Entries {
				got = append(got, describe(e))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("other entries (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.patch, d.Patch); c.patch != "*" && diff != "" {
				t.Errorf("other patch (-want +got):\n%s", diff)
			}
			checkApplies(t, "git", gitApply, c.before, c.after, o)
			if !c.gitOnly {
				checkApplies(t, "patch", gnuPatch, c.before, c.after, o)
			}
		})
	}
}

func describe(e patch.Entry) string {
	words := []string{string(e.Status), e.Path}
	if e.Status == patch.TypeChanged {
		words = append(words, string(e.Before.Type))
	}
	words = append(words, string(e.Type()))
	if e.Reason != "" {
		words = append(words, string(e.Reason))
	}
	return strings.Join(words, " ")
}

// checkApplies applies the patch between two trees to the first.
func checkApplies(t *testing.T, program string, apply []string, a, b []item, o patch.Options) {
	t.Run(program, func(t *testing.T) {
		need(t, program, program)
		before, after := build(t, a...), build(t, b...)
		d := compare(t, before, after, o)
		dir := t.TempDir()
		unpack(t, before, dir)
		if d.Patch == "" {
			return
		}
		if out, err := run(dir, d.Patch, apply...); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, d.Patch)
		}
		if diff := cmp.Diff(expected(ofTree(t, before), ofTree(t, after), d), ofFolder(t, dir)); diff != "" {
			t.Fatalf("it left something else (-want +got):\n%s\n%s", diff, d.Patch)
		}
	})
}

// TestNames makes, changes, empties, chmods and deletes a file of each name.
func TestNames(t *testing.T) {
	need(t, "git", "git")
	for _, name := range []string{
		"plain", "two words", " leading", "trailing ", " ", "tab\there", "\ttab", "tab\t", "line\nbreak", "\n", "return\r", `quo"te`, `"`, `back\slash`, `\`, "'",
		"h\u00e9llo", "\xff\xfe", "a\xc3", "\x01\x7f\a\b\v\f", "a/a/a", "a/b/a b/b", "x b/x", "b/x b/x", "a b/a b", "trail /x", "trail / x /y ", "/dev/null"[1:], "-", "--- a", "+++ b",
		"diff --git a b", "@@ -1 +1 @@", "=>", "{a => b}", "$(id)", "*", "?", "[a]", "...", "..a", "2024-01-01", "x\t2024-01-01 00:00:00", strings.Repeat("n", 255),
	} {
		for _, pair := range [][2][]item{
			{nil, {file(name, "1\n")}},
			{nil, {file(name, "")}},
			{{file(name, "1\n")}, nil},
			{{file(name, "")}, nil},
			{{file(name, "1\n")}, {file(name, "2\n")}},
			{{file(name, "1\n")}, {script(name, "1\n")}},
			{{link(name, "x")}, {link(name, "y")}},
		} {
			before, after := build(t, pair[0]...), build(t, pair[1]...)
			d := compare(t, before, after, patch.Options{})
			if d.Summary.TextPatched != 1 {
				t.Errorf("%q: %+v", name, d.Summary)
			}
			checkPair(t, before, after, patch.Options{}, gitApply)
			if t.Failed() {
				return
			}
		}
	}
}
