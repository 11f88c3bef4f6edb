package lint

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestPackageComments: the package comment teaches the concept before the API.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		var comment string
		onlyTests := true
		for name, file := range p.files {
			onlyTests = onlyTests && isTest(name)
			if file.Doc != nil && (!isTest(name) || comment == "") {
				comment = file.Doc.Text()
			}
		}
		name := packageName(p)
		want := "Package " + name + " "
		switch {
		case name == "main" && !onlyTests:
			want = "Command "
		case onlyTests:
			want = "Package " + name
		}
		if !strings.HasPrefix(comment, want) {
			t.Errorf("%s has no package comment that begins with %q", p.path, want)
		}
	}
}

func packageName(p *goPackage) string {
	for name, file := range p.files {
		if !isTest(name) {
			return file.Name.Name
		}
	}
	for _, file := range p.files {
		return file.Name.Name
	}
	return ""
}

// TestPackageNames: a package is named for the noun it gives; these names give
// none and attract everything.
func TestPackageNames(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "lib", "misc", "base", "shared", "types", "models"}
	for _, p := range packages(t) {
		if slices.Contains(empty, path.Base(p.path)) {
			t.Errorf("package %s has a name that says nothing", p.path)
		}
	}
}

// maxLines is the length at which a function does more than one thing.
const maxLines = 120

func TestFunctionLength(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range p.files {
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok {
					continue
				}
				begin, end := p.fset.Position(f.Pos()), p.fset.Position(f.End())
				if n := end.Line - begin.Line + 1; n > maxLines {
					t.Errorf("%s: %s has %d lines, at most %d: split it by noun", begin, f.Name.Name, n, maxLines)
				}
			}
		}
	}
}

// TestNoInit: a wiring function that one can read beats an import's side effect.
func TestNoInit(t *testing.T) {
	for _, p := range packages(t) {
		for name, file := range p.files {
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !isTest(name) {
					t.Errorf("%s: func init", p.fset.Position(f.Pos()))
				}
			}
		}
	}
}

// TestSkipsGiveReasons: a test that stays away says why, in words that name
// what is missing.
func TestSkipsGiveReasons(t *testing.T) {
	for _, p := range packages(t) {
		for name, file := range p.files {
			if !isTest(name) {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if ok && (f.Sel.Name == "SkipNow" || f.Sel.Name == "Skip" && len(call.Args) == 0) {
					t.Errorf("%s: a skip without a reason", p.fset.Position(call.Pos()))
				}
				return true
			})
		}
	}
}
