package unpack

import "strings"

// Bounds of a name, those of what the host reads. They bound the number of
// folders open at a time too.
const (
	maxParts   = 1024
	maxNameLen = 16 << 10
)

// maxEntries bounds a stream, twice over what the host sends at most.
const maxEntries = 4 << 20

// split returns the parts of a relative name: none for "." and "./".
func split(name string) ([]string, error) {
	var parts []string
	switch {
	case strings.HasPrefix(name, "/"):
		return nil, errorf(Unsafe, "%q is an absolute name", name)
	case strings.IndexByte(name, 0) >= 0:
		return nil, errorf(Unsafe, "%q has a NUL byte", name)
	case len(name) > maxNameLen:
		return nil, errorf(Unsafe, "%q... is longer than %d bytes", name[:80], maxNameLen)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, errorf(Unsafe, `%q has a ".." part`, name)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > maxParts {
		return nil, errorf(Unsafe, "%q... has more than %d parts", name[:80], maxParts)
	}
	return parts, nil
}

// folder is a folder of the staging area. Only folders are remembered: what else
// there is can be read from the area itself.
type folder struct {
	sub map[string]*folder
	// fixed is set for the destination and what is above it.
	fixed bool
	// explicit folders have an entry, which says attr.
	explicit bool
	attr     attr
}

func (f *folder) add(name string) *folder {
	if f.sub == nil {
		f.sub = map[string]*folder{}
	}
	sub := &folder{}
	f.sub[name] = sub
	return sub
}
