package patch_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pyro/internal/patch"
	"pyro/internal/tree"
	"pyro/internal/tree/treetest"
)

// item is an entry of a tree below /w, the folder that the tests compare.
type item struct {
	path string
	node tree.Node
	data string
}

func file(path, data string) item   { return item{path, tree.Node{Mode: 0o644}, data} }
func script(path, data string) item { return item{path, tree.Node{Mode: 0o755}, data} }
func link(path, target string) item {
	return item{path, tree.Node{Type: tree.Symlink, Target: target}, ""}
}
func folder(path string) item { return item{path, tree.Node{Type: tree.Dir, Mode: 0o755}, ""} }
func fifo(path string) item   { return item{path, tree.Node{Type: tree.Fifo, Mode: 0o644}, ""} }

func (i item) mode(m uint32) item {
	i.node.Mode = m
	return i
}

func build(tb testing.TB, items ...item) *tree.Tree {
	tb.Helper()
	tr := treetest.New(tb)
	for _, i := range items {
		put(tb, tr, i)
	}
	return tr
}

func put(tb testing.TB, tr *tree.Tree, i item) {
	tb.Helper()
	if err := tr.Put("/w/"+i.path, &i.node, strings.NewReader(i.data)); err != nil {
		tb.Fatal(err)
	}
}

func compare(tb testing.TB, before, after *tree.Tree, o patch.Options) *patch.Diff {
	tb.Helper()
	d, err := patch.Compare(tb.Context(), before, after, "/w", o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// unpack writes what is below /w to dir. What is neither file, folder nor link
// becomes a fifo, which is as much in the way.
func unpack(tb testing.TB, tr *tree.Tree, dir string) {
	tb.Helper()
	err := tr.Walk(func(path string, n *tree.Node) error {
		name, below := strings.CutPrefix(path, "/w/")
		if !below {
			return nil
		}
		name = filepath.Join(dir, name)
		switch n.Type {
		case tree.Dir:
			return os.Mkdir(name, 0o755)
		case tree.Symlink:
			return os.Symlink(n.Target, name)
		case tree.Regular:
			data := make([]byte, n.Size)
			tr.Open(n).ReadAt(data, 0)
			return os.WriteFile(name, data, os.FileMode(n.Mode&0o777|0o600))
		default:
			return unix.Mkfifo(name, 0o600)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// state is what git knows of a folder: files and links, by path, as mode and
// contents.
type state map[string]string

func ofTree(tb testing.TB, tr *tree.Tree) state {
	tb.Helper()
	s := state{}
	for path, e := range treetest.Entries(tb, tr) {
		name, below := strings.CutPrefix(path, "/w/")
		switch {
		case !below:
		case e.Type == "symbolic link":
			s[name] = "120000 " + e.Target
		case e.Type == "regular file" && e.Mode&0o100 != 0:
			s[name] = "100755 " + e.Data
		case e.Type == "regular file":
			s[name] = "100644 " + e.Data
		}
	}
	return s
}

func ofFolder(tb testing.TB, dir string) state {
	tb.Helper()
	s := state{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch {
		case e.Type() == os.ModeSymlink:
			target, err := os.Readlink(path)
			s[name] = "120000 " + target
			return err
		case e.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if s[name] = "100644 " + string(data); info.Mode()&0o100 != 0 {
				s[name] = "100755 " + string(data)
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// expected is the state after the patch of d: new where an entry has a text.
func expected(before, after state, d *patch.Diff) state {
	s := state{}
	for path, v := range before {
		s[path] = v
	}
	for _, e := range d.Entries {
		if e.Reason != patch.ReasonNone {
			continue
		}
		delete(s, e.Path)
		if v, ok := after[e.Path]; ok {
			s[e.Path] = v
		}
	}
	return s
}

// need skips a test that cannot run without a program.
func need(tb testing.TB, program, debianPackage string) {
	tb.Helper()
	if _, err := exec.LookPath(program); err != nil {
		tb.Skipf("needs %s from %s", program, debianPackage)
	}
}

// run runs a program in dir, away from all configuration of the user.
func run(dir string, stdin string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_CEILING_DIRECTORIES="+filepath.Dir(dir), "COLUMNS=80",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@t", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

var (
	gitApply = []string{"git", "apply", "--whitespace=nowarn"}
	gnuPatch = []string{"patch", "-p1", "--batch", "--no-backup-if-mismatch", "--fuzz=0", "--quiet"}
)
