// Package layer reads and writes the writable layer of an overlay as a tar.
//
// The tar is what pyro's runtimes exchange: added and changed files, deleted
// ones as character devices 0:0, and folders that replaced another one with the
// record SCHILY.xattr.trusted.overlay.opaque. Sockets are left out. Only files with
// holes are entries of their own kind, see package holes. See
// https://docs.kernel.org/filesystems/overlayfs.html for what is in such a layer.
package layer

import (
	"strings"

	"golang.org/x/sys/unix"
)

const (
	xattrRecord = "SCHILY.xattr."
	opaqueXattr = "trusted.overlay.opaque"
)

// kept says whether an extended attribute belongs to the file, and not to the
// overlay or to the file system under it.
func kept(name string) bool {
	return strings.HasPrefix(name, "user.") || name == "security.capability"
}

// maxXattrs bounds the names and each value, as ext4 does.
const maxXattrs = 64 << 10

// xattrs returns what of a file's attributes a tar has to hold. names has room for
// maxXattrs.
func xattrs(path string, names []byte) (map[string]string, error) {
	n, err := unix.Llistxattr(path, names)
	if err == unix.ENOTSUP || n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	value := make([]byte, maxXattrs)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !kept(name) && name != opaqueXattr {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		found[xattrRecord+name] = string(value[:n])
	}
	return found, nil
}
