package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the folder of the module, seen from this package.
const root = "../.."

// module is the module's path, which starts every import path of ours.
const module = "pyro"

// skipped are the folders that hold no source of ours.
var skipped = []string{".git", "bin", "dist", "node_modules", ".venv"}

// goPackage is one package of the module as its files describe it.
type goPackage struct {
	path  string // import path, "pyro/api"
	fset  *token.FileSet
	files map[string]*ast.File // by name below root; tests too
}

// packages parses the whole module, without the module of the tools.
func packages(t *testing.T) []*goPackage {
	t.Helper()
	found := map[string]*goPackage{}
	for _, name := range sources(t, ".go") {
		if strings.HasPrefix(name, "tools/") {
			continue
		}
		path := strings.TrimSuffix(module+"/"+filepath.Dir(name), "/.")
		p := found[path]
		if p == nil {
			p = &goPackage{path: path, fset: token.NewFileSet(), files: map[string]*ast.File{}}
			found[path] = p
		}
		file, err := parser.ParseFile(p.fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p.files[name] = file
	}
	var all []*goPackage
	for _, p := range found {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *goPackage) int { return strings.Compare(a.path, b.path) })
	if len(all) < 5 {
		t.Fatalf("only %d packages found: the rules look at the wrong folder", len(all))
	}
	return all
}

// sources lists the files of the repository with one of the extensions (all
// files without any), by their names below root.
func sources(t *testing.T, extensions ...string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(skipped, d.Name()) && path != root {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() && (len(extensions) == 0 || slices.Contains(extensions, filepath.Ext(path))) {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// imports lists what a file imports.
func imports(file *ast.File) []string {
	var paths []string
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// isStd reports whether an import path is of the standard library: only there
// does the first element have no dot.
func isStd(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != module
}

// within reports whether path is one of the patterns: an import path, or one
// that ends in /... for it and all below it.
func within(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		tree, isTree := strings.CutSuffix(pattern, "/...")
		return path == tree || isTree && strings.HasPrefix(path, tree+"/")
	})
}
