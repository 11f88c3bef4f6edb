package hostprocess

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Find looks through the whole host for processes, by what a file of theirs in
// /proc holds: "cmdline" or "environ", whose strings end with a zero byte,
// proc(5). It is for those whose record is incomplete because its writer was
// killed. What this process may not end is somebody else's, whatever it says of
// itself: anybody can give a process of his any arguments.
func Find(file string, matches func(content []byte) bool) []Process {
	var found []Process
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		content, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil || !matches(content) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(folder))
		if p, err := Identify(pid); err == nil && unix.Kill(pid, 0) == nil {
			found = append(found, p)
		}
	}
	return found
}
