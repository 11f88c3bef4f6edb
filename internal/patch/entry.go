package patch

import "pyro/internal/tree"

// Status is what happened to a path.
type Status string

// The statuses.
const (
	Added       Status = "added"
	Modified    Status = "modified" // its data, its target, its device numbers or its permissions
	Deleted     Status = "deleted"
	TypeChanged Status = "type_changed"
)

// Artifact is what stands at a path.
type Artifact string

// The artifacts, one for each type of node.
const (
	File        Artifact = "file"
	Directory   Artifact = "directory"
	Symlink     Artifact = "symlink"
	CharDevice  Artifact = "char_device"
	BlockDevice Artifact = "block_device"
	Fifo        Artifact = "fifo"
)

var artifacts = [...]Artifact{
	tree.Regular: File, tree.Dir: Directory, tree.Symlink: Symlink,
	tree.CharDevice: CharDevice, tree.BlockDevice: BlockDevice, tree.Fifo: Fifo,
}

// Reason says why an entry has no text. It is for machines to tell the cases
// apart; new ones may be added.
type Reason string

// The reasons. An entry with a text has ReasonNone.
const (
	ReasonNone        Reason = ""
	ReasonDirectory   Reason = "directory"    // patches know no folders
	ReasonSpecial     Reason = "special"      // nor devices and fifos
	ReasonTypeChanged Reason = "type_changed" // see Options.TypeChanges
	ReasonBinary      Reason = "binary"       // a NUL in the first 8000 bytes, as git decides
	ReasonTooLarge    Reason = "too_large"    // more than MaxFileBytes
	ReasonPermissions Reason = "permissions"  // they changed, but not the owner's x bit, all that a patch has
	ReasonPatchFull   Reason = "patch_full"   // MaxPatchBytes are reached
	ReasonName        Reason = "name"         // git apply refuses a patch with such a name, .git/config for one
	ReasonParent      Reason = "parent"       // a folder above it took the place of something that the patch does not remove
)

// State is one side of an entry.
type State struct {
	Type Artifact
	Size int64  // bytes of a file, or of a link's target; 0 for others
	Mode uint32 // permission bits with setuid, setgid and sticky; 0777 for a link
}

func stateOf(n *tree.Node) *State {
	if n == nil {
		return nil
	}
	s := &State{Type: artifacts[n.Type], Size: n.Size, Mode: n.Mode}
	if n.Type == tree.Symlink {
		s.Size = int64(len(n.Target))
	}
	return s
}

// Entry is one path that differs.
type Entry struct {
	// Path is relative to the compared folder, in the guest's bytes, which need
	// not be UTF-8.
	Path   string
	Status Status
	Before *State // nil when added
	After  *State // nil when deleted
	// Text is this path's part of the patch, "" when Reason says why there is none.
	Text   string
	Reason Reason
	// LinesAdded and LinesDeleted count the text's lines. A mode alone has none.
	LinesAdded, LinesDeleted int
}

// Type is what stands at the path now, or stood there when it was deleted.
func (e *Entry) Type() Artifact {
	if e.After != nil {
		return e.After.Type
	}
	return e.Before.Type
}

// isDirectory reports whether e is of no interest to git: never was anything
// but a folder at its path.
func (e *Entry) isDirectory() bool { return e.Type() == Directory && e.Status != TypeChanged }

// Summary counts entries.
type Summary struct {
	Total                                 int
	Added, Modified, Deleted, TypeChanged int // by status; Total is their sum
	TextPatched, NonText                  int // with and without a text; Total is their sum
}

func (s *Summary) count(e Entry) {
	s.Total++
	switch e.Status {
	case Added:
		s.Added++
	case Modified:
		s.Modified++
	case Deleted:
		s.Deleted++
	case TypeChanged:
		s.TypeChanged++
	}
	if e.Reason == ReasonNone {
		s.TextPatched++
	} else {
		s.NonText++
	}
}
