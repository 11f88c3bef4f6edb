package debian

import (
	"time"

	"pyro/internal/tree"
)

// Where dpkg keeps what it knows:
//
//	/var/lib/dpkg/
//	  status               every package with its state
//	  info/format          "1"
//	  info/PKG.list        the paths of a package; PKG is "name:arch" for Multi-Arch: same
//	  info/PKG.postinst    and the other files of its control archive, as they were there
//	  triggers/File        who wants to know when files below a path change
//	  triggers/NAME        who wants to know when trigger NAME is activated
//	  triggers/Unincorp    triggers activated that dpkg has not looked at yet
//	  diversions           files that a package has moved out of another one's way
//	  arch                 the architectures, one a line
//	  updates/ parts/ alternatives/ lock lock-frontend
const (
	dpkgDir    = "/var/lib/dpkg/"
	infoDir    = dpkgDir + "info/"
	statusFile = dpkgDir + "status"
)

// mergedDirs are the top-level folders that are symlinks into /usr.
var mergedDirs = []string{"bin", "sbin", "lib", "lib64"}

// putSkeleton makes what must be there before the first package: the links of
// the merged /usr, which every release since bookworm requires.
func putSkeleton(t *tree.Tree, arch string, mtime time.Time) error {
	dirs := mergedDirs
	if arch != "amd64" {
		dirs = mergedDirs[:3] // only amd64 has its loader in /lib64
	}
	for _, d := range dirs {
		if err := t.Put("/usr/"+d, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: mtime}, nil); err != nil {
			return err
		}
		if err := t.Put("/"+d, &tree.Node{Type: tree.Symlink, Target: "usr/" + d, ModTime: mtime}, nil); err != nil {
			return err
		}
	}
	return nil
}
