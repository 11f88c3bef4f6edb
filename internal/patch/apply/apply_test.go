package apply_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/patch/apply"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// numbers are the lines 1 to n.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

func put(t testing.TB, tr *tree.Tree, name string, n *tree.Node, data string) {
	t.Helper()
	if err := tr.Put(name, n, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

// sample is the tree that the patches below are for.
func sample(t testing.TB) *tree.Tree {
	t.Helper()
	tr := treetest.New(t)
	put(t, tr, "a", &tree.Node{Mode: 0o640, UID: 5, GID: 6}, "one\ntwo\nthree\n")
	put(t, tr, "n", &tree.Node{Mode: 0o644}, numbers(30))
	put(t, tr, "open", &tree.Node{Mode: 0o644}, "x\ny")
	put(t, tr, "empty", &tree.Node{Mode: 0o644}, "")
	put(t, tr, "run", &tree.Node{Mode: 0o750}, "#!/bin/sh\n")
	put(t, tr, "dir/in", &tree.Node{Mode: 0o644}, "in\n")
	put(t, tr, "l", &tree.Node{Type: tree.Symlink, Target: "a"}, "")
	put(t, tr, "ld", &tree.Node{Type: tree.Symlink, Target: "dir"}, "")
	put(t, tr, "p", &tree.Node{Type: tree.Fifo}, "")
	put(t, tr, "hollow", &tree.Node{Type: tree.Dir, Mode: 0o755}, "")
	return tr
}

// show writes changes down, one a line: PATH STATUS MODE DATA.
func show(changes []apply.Change) []string {
	all := []string{}
	for _, c := range changes {
		s := c.Path + " " + c.Status()
		if c.After != nil {
			s += fmt.Sprintf(" %o %d %q", c.After.Mode, c.After.UID, c.After.Data)
		}
		all = append(all, s)
	}
	return all
}

func edited(n int, from, to string) string {
	return strings.Replace(numbers(n), "\n"+from+"\n", "\n"+to+"\n", 1)
}

func TestApply(t *testing.T) {
	for name, test := range map[string]struct {
		patch string
		want  []string
	}{
		"nothing":                {"", []string{}},
		"plain":                  {"--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n", []string{`a modified 640 5 "one\n2\nthree\n"`}},
		"without a last newline": {"--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three", []string{`a modified 640 5 "one\n2\nthree\n"`}},
		"text around it":         {"Dear all,\n\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n-- \n2.39\n", []string{`a modified 640 5 "one\n2\nthree\n"`}},
		"lines have moved": {"--- a/n\n+++ b/n\n@@ -3,5 +3,5 @@\n 18\n 19\n-20\n+x\n 21\n 22\n", []string{
			fmt.Sprintf("n modified 644 0 %q", edited(30, "20", "x")),
		}},
		"two hunks, the second where the first was off": {"--- a/n\n+++ b/n\n@@ -2,3 +2,3 @@\n 5\n-6\n+x\n 7\n@@ -12,3 +12,3 @@\n 15\n-16\n+y\n 17\n", []string{
			fmt.Sprintf("n modified 644 0 %q", strings.Replace(edited(30, "16", "y"), "\n6\n", "\nx\n", 1)),
		}},
		"the end":        {"--- a/n\n+++ b/n\n@@ -28,3 +28,4 @@\n 28\n 29\n 30\n+31\n", []string{fmt.Sprintf("n modified 644 0 %q", numbers(31))}},
		"no newline":     {"--- a/open\n+++ b/open\n@@ -1,2 +1,2 @@\n x\n-y\n\\ No newline at end of file\n+y\n", []string{`open modified 644 0 "x\ny\n"`}},
		"new":            {"diff --git a/new/f b/new/f\nnew file mode 100755\n--- /dev/null\n+++ b/new/f\n@@ -0,0 +1 @@\n+hi\n", []string{`new/f added 755 0 "hi\n"`}},
		"new, plain":     {"--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+hi\n", []string{`new added 644 0 "hi\n"`}},
		"new, empty":     {"diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n", []string{`e added 644 0 ""`}},
		"filled":         {"--- a/empty\n+++ b/empty\n@@ -0,0 +1 @@\n+hi\n", []string{`empty modified 644 0 "hi\n"`}},
		"deleted":        {"diff --git a/dir/in b/dir/in\ndeleted file mode 100644\n--- a/dir/in\n+++ /dev/null\n@@ -1 +0,0 @@\n-in\n", []string{"dir/in deleted"}},
		"deleted, empty": {"diff --git a/empty b/empty\ndeleted file mode 100644\nindex e69de29..0000000\n", []string{"empty deleted"}},
		"mode":           {"diff --git a/a b/a\nold mode 100644\nnew mode 100755\n", []string{`a modified 750 5 "one\ntwo\nthree\n"`}},
		"mode back":      {"diff --git a/run b/run\nold mode 100755\nnew mode 100644\n", []string{`run modified 640 0 "#!/bin/sh\n"`}},
		"link":           {"diff --git a/l b/l\nindex 1..2 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+n\n\\ No newline at end of file\n", []string{`l modified 777 0 "n"`}},
		"new link":       {"diff --git a/l2 b/l2\nnew file mode 120000\n--- /dev/null\n+++ b/l2\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n", []string{`l2 added 777 0 "a"`}},
		"rename": {"diff --git a/a b/new/a\nsimilarity index 66%\nrename from a\nrename to new/a\n--- a/a\n+++ b/new/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n", []string{
			"a deleted", `new/a added 640 5 "one\n2\nthree\n"`,
		}},
		"copy": {"diff --git a/run b/run2\nsimilarity index 100%\ncopy from run\ncopy to run2\n", []string{`run2 added 750 0 "#!/bin/sh\n"`}},
		"swap": {"diff --git a/a b/run\nsimilarity index 100%\nrename from a\nrename to run\ndiff --git a/run b/a\nsimilarity index 100%\nrename from run\nrename to a\n", []string{
			`a modified 750 0 "#!/bin/sh\n"`, `run modified 640 5 "one\ntwo\nthree\n"`,
		}},
		"file to link":        {"diff --git a/run b/run\ndeleted file mode 100755\n--- a/run\n+++ /dev/null\n@@ -1 +0,0 @@\n-#!/bin/sh\ndiff --git a/run b/run\nnew file mode 120000\n--- /dev/null\n+++ b/run\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n", []string{`run type_changed 777 0 "a"`}},
		"file to folder":      {"diff --git a/run b/run\ndeleted file mode 100755\n--- a/run\n+++ /dev/null\n@@ -1 +0,0 @@\n-#!/bin/sh\ndiff --git a/run/in b/run/in\nnew file mode 100644\n--- /dev/null\n+++ b/run/in\n@@ -0,0 +1 @@\n+x\n", []string{"run deleted", `run/in added 644 0 "x\n"`}},
		"folder to file":      {"diff --git a/dir b/dir\nnew file mode 100644\n--- /dev/null\n+++ b/dir\n@@ -0,0 +1 @@\n+x\ndiff --git a/dir/in b/dir/in\ndeleted file mode 100644\n--- a/dir/in\n+++ /dev/null\n@@ -1 +0,0 @@\n-in\n", []string{`dir added 644 0 "x\n"`, "dir/in deleted"}},
		"the same file twice": {"--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n-one\n+1\n 2\n three\n", []string{`a modified 640 5 "1\n2\nthree\n"`}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := apply.Parse([]byte(test.patch))
			if err != nil {
				t.Fatal(err)
			}
			tr := sample(t)
			before := treetest.Entries(t, tr)
			got, err := p.To(tr)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, show(got)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, treetest.Entries(t, tr)); diff != "" {
				t.Errorf("the tree has changed:\n%s", diff)
			}
		})
	}
}

func newFile(name string) string {
	return "diff --git a/" + name + " b/" + name + "\nnew file mode 100644\n--- /dev/null\n+++ b/" + name + "\n@@ -0,0 +1 @@\n+x\n"
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		patch string
		kind  api.Kind
		text  string
	}{
		"no patch":                    {"please change a\n", api.KindUsage, "no patch in the text"},
		"a hunk alone":                {"@@ -1 +1 @@\n-a\n+b\n", api.KindUsage, "without file header"},
		"too few lines":               {"--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n", api.KindUsage, "cannot be read"},
		"too many lines":              {"--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n three\n", api.KindUsage, "line 7 is one more than the hunk"},
		"more lines added":            {"--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n+four\n", api.KindUsage, "line 8 is one more"},
		"another content":             {"--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-zwei\n+2\n three\n", api.KindConflict, `a: hunk 1 (@@ -1,3 +1,3 @@) does not apply: "zwei\n" is not there`},
		"the second hunk":             {"--- a/n\n+++ b/n\n@@ -2,3 +2,3 @@\n 2\n-3\n+x\n 4\n@@ -12,3 +12,3 @@\n 12\n-14\n+y\n 13\n", api.KindConflict, "n: hunk 2 "},
		"not at the beginning":        {"--- a/n\n+++ b/n\n@@ -1,2 +1,3 @@\n+0\n 5\n 6\n", api.KindConflict, "not at the beginning"},
		"not at the end":              {"--- a/n\n+++ b/n\n@@ -5,2 +5,3 @@\n 5\n 6\n+x\n", api.KindConflict, "not at the end"},
		"hunks in the wrong order":    {"--- a/n\n+++ b/n\n@@ -12,3 +12,3 @@\n 12\n-13\n+y\n 14\n@@ -2,3 +2,3 @@\n 2\n-3\n+x\n 4\n", api.KindConflict, "hunk 2"},
		"end of lines":                {"--- a/open\n+++ b/open\n@@ -1,2 +1,2 @@\n-x\n+z\n y\n", api.KindConflict, "open: hunk 1"},
		"does not exist":              {"--- a/none\n+++ b/none\n@@ -1 +1 @@\n-a\n+b\n", api.KindConflict, "none: it does not exist"},
		"a folder":                    {"--- a/dir\n+++ b/dir\n@@ -1 +1 @@\n-a\n+b\n", api.KindConflict, "is a folder"},
		"a fifo":                      {"--- a/p\n+++ b/p\n@@ -1 +1 @@\n-a\n+b\n", api.KindConflict, "p: it is a fifo"},
		"there already":               {newFile("a"), api.KindConflict, "a: it is to be made and is there already"},
		"made twice":                  {newFile("q") + newFile("q"), api.KindConflict, "q: it is to be made"},
		"rename over another":         {"diff --git a/a b/run\nsimilarity index 100%\nrename from a\nrename to run\n", api.KindConflict, "run: something is there already"},
		"more than is deleted":        {"diff --git a/a b/a\ndeleted file mode 100644\n--- a/a\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-one\n-two\n-4\n", api.KindConflict, "a: hunk 1"},
		"deleted without text":        {"diff --git a/a b/a\ndeleted file mode 100644\nindex e69de29..0000000\n", api.KindConflict, "has more in it"},
		"beyond a link":               {newFile("ld/x"), api.KindUnsafe, "ld is a symbolic link"},
		"below a file":                {newFile("a/x"), api.KindConflict, "a is a regular file"},
		"in place of a folder":        {newFile("dir"), api.KindConflict, "dir/in in it"},
		"in place of an empty folder": {newFile("hollow"), api.KindConflict, "a folder is there"},
		"below what is made":          {newFile("q") + newFile("q/x"), api.KindConflict, "q is no folder"},
		"above":                       {newFile("../x"), api.KindUnsafe, "not a plain path"},
		"above, in between":           {newFile("dir/../../x"), api.KindUnsafe, "not a plain path"},
		"absolute":                    {"--- a//etc/passwd\n+++ b//etc/passwd\n@@ -0,0 +1 @@\n+x\n", api.KindConflict, "etc/passwd: it does not exist"},
		"a submodule":                 {"diff --git a/s b/s\nnew file mode 160000\n--- /dev/null\n+++ b/s\n@@ -0,0 +1 @@\n+Subproject commit 1\n", api.KindUnsafe, "160000"},
		"setuid":                      {"diff --git a/s b/s\nnew file mode 104755\n", api.KindUnsafe, "104755"},
		"a link without a target":     {"diff --git a/s b/s\nnew file mode 120000\n", api.KindUnsafe, "target of a link"},
		"a link for a file":           {"diff --git a/l b/l\nindex 1..2 100644\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+n\n", api.KindConflict, "the patch is for a file"},
		"a file for a link":           {"diff --git a/a b/a\nold mode 120000\nnew mode 100644\n", api.KindConflict, "the patch is for a symbolic link"},
		"binary without data":         {"diff --git a/a b/a\nindex 1..2 100644\nBinary files a/a and b/a differ\n", api.KindUsage, "not how"},
		"binary without hash":         {"diff --git a/a b/a\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n\n", api.KindUsage, "in full"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := apply.Parse([]byte(test.patch))
			var changes []apply.Change
			if err == nil {
				changes, err = p.To(sample(t))
			}
			if api.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v of kind %s, changes %q", err, api.KindOf(err), show(changes))
			}
		})
	}
}

// TestGitsBinaryPatches: what git writes of binary files, new, changed by a
// delta and deleted, applies, and only to the content that it is for.
func TestGitsBinaryPatches(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skipf("needs git from git")
	}
	dir := t.TempDir()
	sh := func(script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = dir
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	sh(`git init -q .; for i in $(seq 3000); do printf '%d\0' $i; done >changed; printf 'gone\0' >gone; git add .; git commit -qm 1
		printf 'more\0' >>changed; rm gone; printf 'new\0file' >new; git add -A; git commit -qm 2`)
	text := sh("git diff --binary HEAD^ HEAD")
	if !strings.Contains(text, "\ndelta ") {
		t.Fatalf("git has made no delta:\n%s", text)
	}
	tr := treetest.New(t)
	var before strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&before, "%d\x00", i+1)
	}
	put(t, tr, "changed", &tree.Node{Mode: 0o644}, before.String())
	put(t, tr, "gone", &tree.Node{Mode: 0o644}, "gone\x00")
	p, err := apply.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.To(tr)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("changed modified 644 0 %q", before.String()+"more\x00"), "gone deleted", `new added 644 0 "new\x00file"`}
	if diff := cmp.Diff(want, show(got)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	put(t, tr, "changed", &tree.Node{Mode: 0o644}, before.String()+"!")
	if _, err := p.To(tr); api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "changed: the binary patch is for another content") {
		t.Errorf("applied to something else: %v", err)
	}
}

// TestSearchIsBounded: a patch whose hunks could stand nearly everywhere ends.
func TestSearchIsBounded(t *testing.T) {
	tr := treetest.New(t)
	put(t, tr, "f", &tree.Node{Mode: 0o644}, strings.Repeat("\n", 1_000_000))
	var b strings.Builder
	b.WriteString("--- a/f\n+++ b/f\n@@ -500000,2001 +500000,2000 @@\n" + strings.Repeat(" \n", 1000) + "-x\n" + strings.Repeat(" \n", 1000))
	p, err := apply.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.To(tr); api.KindOf(err) != api.KindUsage || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
}

// FuzzApply: whatever the patch says, changes are below the root, sorted and each
// path once, errors are ours, and the tree stays as it is.
func FuzzApply(f *testing.F) {
	f.Add([]byte("--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"))
	f.Add([]byte(newFile("x") + newFile("dir/y") + newFile("../z")))
	f.Add([]byte("diff --git a/a b/run\nrename from a\nrename to run\ndiff --git a/run b/a\ncopy from run\ncopy to q\n"))
	f.Add([]byte("diff --git a/a b/a\nindex 4cb29ea38f70d7c61b2a3a25b02e3bdf44905402..1 100644\nGIT binary patch\ndelta 5\nMcmZPo000310RR91\n\nliteral 1\nIcmZPo000310RR91\n\n"))
	f.Add([]byte("diff --git \"a/x\\\\\" \"b/x\\\\\"\nnew file mode 120000\n--- /dev/null\n+++ \"b/x\\\\\"\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := apply.Parse(text)
		if err != nil {
			if k := api.KindOf(err); k != api.KindUsage {
				t.Errorf("error %v of kind %s", err, k)
			}
			return
		}
		tr := sample(t)
		before := treetest.Entries(t, tr)
		changes, err := p.To(tr)
		if k := api.KindOf(err); err != nil && k != api.KindUsage && k != api.KindConflict && k != api.KindUnsafe {
			t.Errorf("error %v of kind %s", err, k)
		}
		if diff := cmp.Diff(before, treetest.Entries(t, tr)); diff != "" {
			t.Errorf("the tree has changed:\n%s", diff)
		}
		var paths []string
		for _, c := range changes {
			paths = append(paths, c.Path)
			if c.Before == nil && c.After == nil || strings.HasPrefix(c.Path, "/") || slices.Contains(strings.Split(c.Path, "/"), "..") {
				t.Errorf("change %+v", c)
			}
		}
		if !slices.IsSorted(paths) || len(slices.Compact(paths)) != len(changes) {
			t.Errorf("paths %q", paths)
		}
	})
}
