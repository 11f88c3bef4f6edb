// Package refusals keeps what a sandbox's network policy refused, and makes of it
// the policy that would not have.
//
// The log of one sandbox is two files of JSON lines in a folder, of which one is
// written:
//
//	DIR
//	├── refusals.0.jsonl
//	└── refusals.1.jsonl
//
// The first line of a file is its [header], with its generation. An [Event] follows
// on each line: the first time that something is refused at once, and how often it
// was refused again every second. Events with the same key, which is everything but
// the times, the count and the reason, are one event, whose counts are added.
//
// When a file is full, all that is known goes to the other one, under the next
// generation, and a line that says so ends it: from then on the old file means
// nothing, and before it the new one does. So the log needs neither a rename nor a
// folder that its writer may write to, and may be cut off at any moment: what is
// lost is the line that was being written, and the counts of the last second. Of
// more events than are kept the first and the newest stay; the others are counted
// in one of their own.
//
// The writer serves a guest that does what it likes, so what it wrote is untrusted,
// and bounded when it is read.
package refusals

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// Bounds of a log.
const (
	maxEvents = 1000    // that are kept
	maxLine   = 4 << 10 // bytes
	maxFile   = 1 << 20 // bytes at which the other file is begun; maxEvents lines of usual length fit several times
	maxRead   = 4 << 20 // bytes of a file that are read: a writer writes no more
)

// Files are the two files of a log, open for reading and writing.
type Files [2]*os.File

// Name is the name of a file of the log, 0 or 1, in its folder.
func Name(i int) string { return fmt.Sprintf("refusals.%d.jsonl", i) }

// OpenFiles opens the files of the log in dir, and creates them. They may be
// handed to another process, which needs no right to the folder.
func OpenFiles(dir string) (Files, error) {
	var files Files
	for i := range files {
		path := filepath.Join(dir, Name(i))
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			files.Close()
			return Files{}, storage("open", &fs.PathError{Op: "open", Path: path, Err: err})
		}
		files[i] = os.NewFile(uintptr(fd), path)
	}
	return files, nil
}

// Close closes the files.
func (f Files) Close() {
	for _, file := range f {
		if file != nil {
			file.Close()
		}
	}
}

// Remove removes the log in dir. None is no error.
func Remove(dir string) error {
	for i := range (Files{}) {
		if err := os.Remove(filepath.Join(dir, Name(i))); err != nil && !os.IsNotExist(err) {
			return storage("remove", err)
		}
	}
	return nil
}

func storage(what string, err error) error {
	return api.Errorf(api.KindStorage, "log of refused connections: %s: %w", what, err).WithHint("make room on the disk, and look at the folder's owner")
}
