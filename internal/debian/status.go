package debian

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// database is what a base tree says of its packages: /var/lib/dpkg/status.
type database struct {
	packages   []*Package // those that are installed
	paragraphs []paragraph
}

// paragraph is one entry of the status file as it is written there.
type paragraph struct {
	name, arch string
	text       string // without the empty line behind it
}

// readDatabase reads the dpkg database of t. A base whose packages are not all
// configured is refused: nobody knows what they would do next.
func readDatabase(t *tree.Tree) (*database, error) {
	b, err := t.ReadFile(statusFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindConflict, "the base has no packages of Debian: %s is missing", statusFile).
			WithHint("build on an environment made from Debian, or without a base")
	}
	if err != nil {
		return nil, err
	}
	db, err := parseStatus(b)
	if err != nil {
		return nil, api.Errorf(api.KindConflict, "the base has a malformed %s: %w", statusFile, err).
			WithHint("build or fetch the base again")
	}
	for _, p := range db.packages {
		if !strings.HasSuffix(p.status, " ok installed") {
			return nil, api.Errorf(api.KindConflict, "package %s of the base is in the state %q", p.Name, clip(p.status)).
				WithHint("build or fetch the base again")
		}
	}
	return db, nil
}

func parseStatus(b []byte) (*database, error) {
	db := new(database)
	for text := range strings.SplitSeq(string(b), "\n\n") {
		if text = strings.Trim(text, "\n"); text == "" {
			continue
		}
		p := new(Package)
		if err := scanControl(strings.NewReader(text), p.set, func() error { return nil }); err != nil {
			return nil, err
		}
		if !validPackageName(p.Name) {
			return nil, errors.New("a paragraph without a package")
		}
		db.paragraphs = append(db.paragraphs, paragraph{p.Name, p.Arch, text})
		if !strings.HasSuffix(p.status, " not-installed") && !strings.HasSuffix(p.status, " config-files") {
			db.packages = append(db.packages, p)
		}
	}
	return db, nil
}

// put adds a paragraph, in the place of one for the same package.
func (db *database) put(new paragraph) {
	db.paragraphs = slices.DeleteFunc(db.paragraphs, func(p paragraph) bool { return p.name == new.name && p.arch == new.arch })
	db.paragraphs = append(db.paragraphs, new)
}

// bytes returns the status file, sorted as dpkg sorts it.
func (db *database) bytes() []byte {
	slices.SortStableFunc(db.paragraphs, func(a, b paragraph) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.arch, b.arch))
	})
	var out bytes.Buffer
	for _, p := range db.paragraphs {
		out.WriteString(p.text)
		out.WriteString("\n\n")
	}
	return out.Bytes()
}
