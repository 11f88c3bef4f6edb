package export

import (
	"cmp"
	"path"
	"strings"

	"pyro/api"
	"pyro/internal/tree"
)

// maxHops is how many symlinks are followed on one path, as in Linux.
const maxHops = 40

// resolve finds the node to export, and its path without links.
func (src Source) resolve() (string, *tree.Node, error) {
	root := path.Clean(cmp.Or(src.Root, "/"))
	top := src.Tree.Root()
	for part := range strings.SplitSeq(strings.Trim(root, "/"), "/") {
		if part == "" {
			break
		}
		if top = top.Child(part); top == nil || top.Type != tree.Dir {
			return "", nil, api.Errorf(api.KindNotFound, "there is no folder %s to export from", root)
		}
	}
	w := &way{root: root, at: []*tree.Node{top}, asked: src.Path}
	if !w.push(src.Path) {
		return "", nil, w.outside()
	}
	for len(w.parts) > 0 {
		if err := w.step(); err != nil {
			return "", nil, err
		}
	}
	n := w.node()
	if n.Type != tree.Dir && strings.HasSuffix(src.Path, "/") {
		return "", nil, api.Errorf(api.KindNotFound, "%s is not a folder", w.path())
	}
	return w.path(), n, nil
}

// way is a walk down a path that stays in the root.
type way struct {
	root  string
	asked string       // the path that the user gave
	at    []*tree.Node // from the root's node to the present one
	names []string     // of all of at but the first
	parts []string     // still to go
	hops  int
	link  string // the last link that was followed, "" before
}

func (w *way) node() *tree.Node { return w.at[len(w.at)-1] }
func (w *way) path() string     { return path.Join(w.root, strings.Join(w.names, "/")) }

// push puts target before what is still to go. It reports whether an absolute
// one is in the root.
func (w *way) push(target string) bool {
	if strings.HasPrefix(target, "/") {
		for part := range strings.SplitSeq(strings.Trim(w.root, "/"), "/") {
			target = strings.TrimLeft(target, "/")
			rest, ok := strings.CutPrefix(target, part)
			if !ok || part != "" && rest != "" && rest[0] != '/' {
				return false
			}
			target = rest
		}
		w.at, w.names = w.at[:1], nil
	}
	w.parts = append(strings.FieldsFunc(target, func(r rune) bool { return r == '/' }), w.parts...)
	return true
}

// step takes the next part.
func (w *way) step() error {
	part := w.parts[0]
	w.parts = w.parts[1:]
	switch part {
	case ".":
		return nil
	case "..":
		if len(w.names) == 0 {
			return w.outside()
		}
		w.at, w.names = w.at[:len(w.at)-1], w.names[:len(w.names)-1]
		return nil
	}
	n := w.node().Child(part)
	here := path.Join(w.path(), part)
	if n == nil {
		return api.Errorf(api.KindNotFound, "there is no %s", here).WithHint("list what there is with: ls -la %s", w.path())
	}
	if n.Type == tree.Symlink {
		if w.hops++; w.hops > maxHops {
			return api.Errorf(api.KindUnsafe, "%s leads through too many symbolic links", w.asked)
		}
		w.link = here
		if !w.push(n.Target) {
			return w.outside()
		}
		return nil
	}
	if n.Type != tree.Dir && len(w.parts) > 0 {
		return api.Errorf(api.KindNotFound, "there is no %s: %s is a %s", w.asked, here, n.Type)
	}
	w.at, w.names = append(w.at, n), append(w.names, part)
	return nil
}

// outside says that the way leaves the root.
func (w *way) outside() error {
	if w.link != "" {
		return api.Errorf(api.KindUnsafe, "the symbolic link %s leads out of %s", w.link, w.root).
			WithHint("export a file or folder itself, not a link to what is elsewhere")
	}
	return api.Errorf(api.KindUsage, "%s is not below %s", w.asked, w.root).
		WithHint("give a path below %s", w.root)
}
