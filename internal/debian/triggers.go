package debian

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"pyro/internal/tree"
)

// triggers records which packages wait for what, deb-triggers(5), and activates
// those triggers of the base that the new files concern.
func (r *recorder) triggers(pkgs []*unpacked) error {
	files, err := r.readLines("triggers/File")
	if err != nil {
		return err
	}
	waiting := files // only packages that are configured already can be triggered
	named := map[string][]string{}
	for _, u := range pkgs {
		for line := range strings.Lines(string(u.control["triggers"].data)) {
			line, _, _ = strings.Cut(line, "#")
			f := strings.Fields(line)
			if len(f) != 2 || !strings.HasPrefix(f[0], "interest") {
				continue
			}
			who := u.pkg.infoName()
			if strings.HasSuffix(f[0], "-noawait") {
				who += "/noawait"
			}
			if strings.HasPrefix(f[1], "/") {
				files = append(files, f[1]+" "+who)
			} else if validPackageName(f[1]) {
				named[f[1]] = append(named[f[1]], who)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		old, err := r.readLines("triggers/" + name)
		if err != nil {
			return err
		}
		if err := r.writeLines("triggers/"+name, append(old, named[name]...)); err != nil {
			return err
		}
	}
	if err := r.writeLines("triggers/File", files); err != nil {
		return err
	}
	return r.writeLines("triggers/Unincorp", activated(waiting, pkgs))
}

// activated returns a line "path -" for every path of the lines waiting ("path
// package") that has a file of pkgs below it. "-" means that the new packages
// do not wait for the trigger to be handled.
func activated(waiting []string, pkgs []*unpacked) []string {
	var out []string
	for _, line := range waiting {
		path, _, _ := strings.Cut(line, " ")
		entry := path + " -"
		if slices.Contains(out, entry) {
			continue
		}
		touches := func(file string) bool { return file == path || strings.HasPrefix(file, path+"/") }
		if slices.ContainsFunc(pkgs, func(u *unpacked) bool { return slices.ContainsFunc(u.list, touches) }) {
			out = append(out, entry)
		}
	}
	return out
}

// readLines returns the lines of a file of the dpkg database, none if there is no file.
func (r *recorder) readLines(name string) ([]string, error) {
	b, err := r.tree.ReadFile(dpkgDir + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.FieldsFunc(string(b), func(c rune) bool { return c == '\n' }), err
}

func (r *recorder) writeLines(name string, lines []string) error {
	text := ""
	if len(lines) > 0 {
		text = strings.Join(lines, "\n") + "\n"
	}
	return r.tree.Put(dpkgDir+name, &tree.Node{Mode: 0o644, ModTime: r.mtime}, strings.NewReader(text))
}
