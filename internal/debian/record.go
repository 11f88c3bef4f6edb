package debian

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// recorder writes packages into the dpkg database of a tree, as dpkg --unpack
// leaves them: "install ok unpacked".
type recorder struct {
	tree   *tree.Tree
	db     *database // of the base, or an empty one
	owners *owners
	arch   string
	mtime  time.Time
}

func (r *recorder) run(pkgs []*unpacked) error {
	for _, u := range pkgs {
		if err := r.info(u); err != nil {
			return err
		}
		text, err := r.statusOf(u)
		if err != nil {
			return err
		}
		r.db.put(paragraph{u.pkg.Name, u.pkg.Arch, text})
	}
	if err := r.relist(); err != nil {
		return err
	}
	if err := r.triggers(pkgs); err != nil {
		return err
	}
	if err := r.empty(); err != nil {
		return err
	}
	return r.tree.PutFile(statusFile, 0o644, r.mtime, r.db.bytes())
}

// info writes the files that dpkg takes over from the control archive.
func (r *recorder) info(u *unpacked) error {
	base := infoDir + u.pkg.infoName() + "."
	for _, name := range slices.Sorted(maps.Keys(u.control)) {
		f := u.control[name]
		if name == "control" || name == "list" {
			continue
		}
		if err := r.tree.PutFile(base+name, f.mode, r.mtime, f.data); err != nil {
			return err
		}
	}
	var list strings.Builder
	for _, path := range u.list {
		if r.owners.keeps(u.pkg, path) {
			list.WriteString(path + "\n")
		}
	}
	return r.tree.PutFile(base+"list", 0o644, r.mtime, []byte(list.String()))
}

// relist takes files that new packages replaced out of the lists of old ones.
func (r *recorder) relist() error {
	for _, p := range r.db.packages {
		if len(r.owners.lost[p]) == 0 {
			continue
		}
		file := infoDir + p.infoName() + ".list"
		b, err := r.tree.ReadFile(file)
		if err != nil {
			return err
		}
		lines := slices.DeleteFunc(slices.Collect(strings.Lines(string(b))), func(l string) bool {
			return !r.owners.keeps(p, strings.TrimSuffix(l, "\n"))
		})
		if err := r.tree.PutFile(file, 0o644, r.mtime, []byte(strings.Join(lines, ""))); err != nil {
			return err
		}
	}
	return nil
}

// statusOf returns the paragraph of the status file: the control file with the
// state and the checksums of the conffiles.
func (r *recorder) statusOf(u *unpacked) (string, error) {
	control := strings.Trim(string(u.control["control"].data), "\n")
	first, rest, _ := strings.Cut(control, "\n")
	if !strings.HasPrefix(first, "Package:") { // dpkg wants it first
		first, rest = "Package: "+u.pkg.Name, withoutField(control, "Package")
	}
	conffiles, err := r.conffiles(u)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(first+"\nStatus: install ok unpacked\n"+rest+"\n"+conffiles, "\n"), nil
}

// withoutField leaves out a field of one line.
func withoutField(control, name string) string {
	lines := slices.DeleteFunc(strings.Split(control, "\n"), func(l string) bool {
		field, _, _ := strings.Cut(l, ":")
		return strings.EqualFold(field, name)
	})
	return strings.Join(lines, "\n")
}

// conffiles returns the Conffiles field. dpkg puts a new conffile in place when
// it configures the package; here it is in place already, and dpkg leaves a file
// alone whose checksum is the recorded one.
func (r *recorder) conffiles(u *unpacked) (string, error) {
	var field strings.Builder
	for line := range strings.Lines(string(u.control["conffiles"].data)) {
		path := strings.TrimSpace(line)
		if path == "" {
			continue
		}
		if flag, obsolete, ok := strings.Cut(path, " "); ok && flag == "remove-on-upgrade" {
			// Such a file is not in the package: dpkg removes one of an older version.
			fmt.Fprintf(&field, " %s newconffile remove-on-upgrade\n", strings.TrimSpace(obsolete))
			continue
		}
		if !strings.HasPrefix(path, "/") {
			return "", malformed(u.pkg, fmt.Errorf("its conffile %q is no absolute path", clip(path)))
		}
		n, err := r.tree.Lookup(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // left out by the caller's Skip
		}
		if err != nil || n.Type != tree.Regular {
			return "", malformed(u.pkg, fmt.Errorf("its conffile %q is no plain file", clip(path)))
		}
		h := md5.New()
		if _, err := io.Copy(h, r.tree.Open(n)); err != nil {
			return "", api.Errorf(api.KindStorage, "%s cannot be read: %w", path, err)
		}
		fmt.Fprintf(&field, " %s %s\n", path, hex.EncodeToString(h.Sum(nil)))
	}
	if field.Len() == 0 {
		return "", nil
	}
	return "Conffiles:\n" + field.String(), nil
}

// empty makes the files and folders of the database that nothing is in yet.
func (r *recorder) empty() error {
	for _, dir := range []string{"updates", "alternatives", "parts"} {
		if err := r.tree.Put(dpkgDir+dir, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: r.mtime}, nil); err != nil {
			return err
		}
	}
	files := []struct {
		name string
		mode uint32
		text string
	}{{"info/format", 0o644, "1\n"}, {"arch", 0o644, r.arch + "\n"}, {"lock", 0o640, ""}, {"lock-frontend", 0o640, ""}, {"triggers/Lock", 0o600, ""}}
	for _, f := range files {
		if _, err := r.tree.Lookup(dpkgDir + f.name); err == nil {
			continue
		}
		if err := r.tree.PutFile(dpkgDir+f.name, f.mode, r.mtime, []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}
