// Package initramfs writes the archive that a Linux kernel unpacks into its
// first root file system.
//
// The format is cpio "newc", see buffer-format.rst in the kernel's
// Documentation/driver-api/early-userspace. The kernel takes several archives
// one after the other, each padded to four bytes, so that what belongs to a
// kernel (its modules) and what belongs to pyro (the agent) are made apart.
package initramfs

import (
	"bytes"
	"fmt"
)

// Archive is a cpio archive in the making. The zero value is an empty one.
type Archive struct {
	buf   bytes.Buffer
	inode int
}

// Dir adds a folder.
func (a *Archive) Dir(name string) { a.add(name, 0o040755, nil, 0, 0) }

// File adds a file with permissions such as 0o755.
func (a *Archive) File(name string, mode uint32, data []byte) {
	a.add(name, 0o100000|mode&0o7777, data, 0, 0)
}

// CharDevice adds a character device that only root may use.
func (a *Archive) CharDevice(name string, major, minor int) { a.add(name, 0o020600, nil, major, minor) }

// Bytes ends the archive and returns it. Nothing may be added afterwards.
func (a *Archive) Bytes() []byte {
	a.add("TRAILER!!!", 0, nil, 0, 0)
	return a.buf.Bytes()
}

func (a *Archive) add(name string, mode uint32, data []byte, major, minor int) {
	a.inode++
	// magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	fmt.Fprintf(&a.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	a.pad()
	a.buf.Write(data)
	a.pad()
}

func (a *Archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}
