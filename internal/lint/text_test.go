package lint

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// text are the extensions of files that people read or type.
var text = []string{".go", ".md", ".txtar", ".json", ".txt", ".yml", ".yaml", ".toml", ".py", ".sh", ".mod"}

// debianPages are hosts that documents may name because nothing is fetched from
// them.
var debianPages = []string{"www", "wiki", "packages", "ftp-master", "lists", "bugs", "manpages", "tracker"}

// TestDebianHosts: which mirror is used is the user's or the host's choice;
// one host is written down, as the last resort.
func TestDebianHosts(t *testing.T) {
	host := regexp.MustCompile(`(?:^|[^@a-z0-9.-])((?:[a-z0-9-]+\.)+debian\.(?:org|net))`)
	for _, name := range append(sources(t, text...), "Makefile", ".ci/run") {
		for i, line := range strings.Split(read(t, name), "\n") {
			for _, m := range host.FindAllStringSubmatch(line, -1) {
				label, _, _ := strings.Cut(m[1], ".")
				if m[1] != "ftp.debian.org" && !slices.Contains(debianPages, label) {
					t.Errorf("%s:%d names the host %s", name, i+1, m[1])
				}
			}
		}
	}
}

// TestLinks: a link of a document leads to a file that is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range sources(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(withoutCode(read(t, name)), -1) {
			target, err := url.Parse(m[1])
			if err != nil || target.Scheme != "" || target.Path == "" {
				continue
			}
			path := filepath.Join(root, filepath.Dir(name), target.Path)
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

// withoutCode cuts the fenced blocks out of a document.
func withoutCode(doc string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(doc) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestMakeTargets: what a document tells to type is a target.
func TestMakeTargets(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	mention := regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)")
	for _, name := range sources(t, ".md") {
		for _, m := range mention.FindAllStringSubmatch(read(t, name), -1) {
			if !targets[m[1]] {
				t.Errorf("%s says make %s, which the Makefile does not know", name, m[1])
			}
		}
	}
}

// TestArchitecture: the list of packages is whole, and lists no other.
func TestArchitecture(t *testing.T) {
	const name = "ARCHITECTURE.md"
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/-]+)` \\|").FindAllStringSubmatch(read(t, name), -1) {
		listed[m[1]] = true
	}
	there := map[string]bool{}
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.path, module+"/")
		if path == module {
			continue // the tests of the program
		}
		there[path] = true
		if !listed[path] {
			t.Errorf("%s does not list package %s", name, path)
		}
	}
	for path := range listed {
		if !there[path] {
			t.Errorf("%s lists %s, which is not there", name, path)
		}
	}
}
