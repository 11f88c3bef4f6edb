package tree

import (
	"fmt"
	"strings"
	"time"
)

// copyNode returns what a tree stores for n, or why it cannot hold it.
func copyNode(n *Node) (*Node, error) {
	c := &Node{Type: n.Type, Target: strings.Clone(n.Target), Major: n.Major, Minor: n.Minor}
	c.setMeta(n)
	c.Mode &= 0o7777
	switch n.Type {
	case Regular, Fifo:
	case Dir:
		c.kids = map[string]edge{}
	case Symlink:
		c.Mode = 0o777
		if len(n.Target) == 0 || len(n.Target) > maxTarget || strings.IndexByte(n.Target, 0) >= 0 {
			return nil, fmt.Errorf("a link target of %d bytes, or with a NUL byte; 1 to %d are possible", len(n.Target), maxTarget)
		}
	case CharDevice, BlockDevice:
		if n.Major > maxMajor || n.Minor > maxMinor {
			return nil, fmt.Errorf("device number %d:%d, %d:%d is the largest", n.Major, n.Minor, maxMajor, maxMinor)
		}
	default:
		return nil, fmt.Errorf("a node of %s", n.Type)
	}
	if c.Type != Symlink {
		c.Target = ""
	}
	if c.Type != CharDevice && c.Type != BlockDevice {
		c.Major, c.Minor = 0, 0
	}
	c.ModTime = saneTime(c.ModTime)
	return c, checkXattrs(c.Xattrs)
}

// The years every archive format and file system can tell: 1 to 9999.
var (
	firstTime = time.Unix(-62135596800, 0)
	lastTime  = time.Unix(253402300799, 0)
)

// saneTime keeps a time of an archive where arithmetic on it is defined. The
// zero time becomes 1970.
func saneTime(t time.Time) time.Time {
	switch s := t.Unix(); {
	case t.IsZero():
		return time.Unix(0, 0)
	case s < firstTime.Unix():
		return firstTime
	case s > lastTime.Unix():
		return lastTime
	}
	return time.Unix(t.Unix(), int64(t.Nanosecond()))
}

func checkXattrs(x map[string]string) error {
	total := 0
	for k, v := range x {
		if k == "" || len(k) > maxName || strings.ContainsAny(k, "=\x00") {
			return fmt.Errorf("an extended attribute cannot be named %q", k)
		}
		total += len(k) + len(v)
	}
	if total > maxXattrs {
		return fmt.Errorf("extended attributes of %d bytes, %d is the most", total, maxXattrs)
	}
	return nil
}

// cloneXattrs copies the strings too: those of an archive share memory with the
// whole header.
func cloneXattrs(x map[string]string) map[string]string {
	if len(x) == 0 {
		return nil
	}
	c := make(map[string]string, len(x))
	for k, v := range x {
		c[strings.Clone(k)] = strings.Clone(v)
	}
	return c
}
