package unpack

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Answer says what was put into the tree.
type Answer struct {
	Files    int   `json:"files"`             // regular files
	Folders  int   `json:"folders"`           // folders with an entry of their own
	Links    int   `json:"links"`             // symbolic and hard links
	Bytes    int64 `json:"bytes"`             // of file data; hard links count nothing
	Removed  int   `json:"removed,omitempty"` // files and links
	Replaced int   `json:"replaced"`          // entries that took the place of something else; a folder counts one
}

// Kind is the class of an [Error]. The values are those of pyro's error kinds of
// the same name; the agent does not carry that table.
type Kind string

// The kinds.
const (
	DiskLimit Kind = "disk_limit"     // the guest's disk is full
	Conflict  Kind = "conflict"       // something in the tree is in the way and may not be replaced
	Unsafe    Kind = "unsafe_content" // the stream has an entry that may not be
	Canceled  Kind = "canceled"       // the stream ended before the commit word, or a signal came
	Internal  Kind = "internal"       // everything else
)

// Error is why nothing was changed.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"` // names the object and the fact
	Err     error  `json:"-"`       // the cause; it stays in the guest
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

func errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Document is the line on stdout: an answer, or an error.
type Document struct {
	*Answer
	Error *Error `json:"error,omitempty"`
}

// fault makes an Error of a system call's. The path is one of the guest.
func fault(path string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errorf(DiskLimit, "the disk of the sandbox is full: %q cannot be written", path)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return errorf(Conflict, "%q is not a folder, or was replaced while it was used", path)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTEMPTY):
		return errorf(Conflict, "%q was changed while it was being replaced", path)
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EBUSY):
		return errorf(Conflict, "%q is a mount point, or on another file system", path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return errorf(Conflict, "%q cannot be changed: %w", path, err)
	case errors.Is(err, unix.ENAMETOOLONG):
		return errorf(Unsafe, "%q is longer than a name can be in the sandbox", path)
	}
	return errorf(Internal, "%q cannot be written: %w", path, err)
}
