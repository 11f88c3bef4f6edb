package gvisor

import (
	"bytes"

	"pyro/internal/runtime/hostprocess"
)

// findProcesses looks through the whole host for sandboxes and gofers whose
// bundle lies in the given machine's folder. It is for machines whose record is
// incomplete because their maker was killed.
func findProcesses(dir string) []hostprocess.Process {
	return hostprocess.Find("cmdline", func(cmdline []byte) bool { return ofMachine(cmdline, dir) })
}

// ofMachine judges by a command line, whose arguments end with a zero byte.
func ofMachine(cmdline []byte, dir string) bool {
	// "--bundle=DIR/..." or "--bundle", "DIR/..."
	return bytes.HasPrefix(cmdline, []byte("runsc-")) &&
		(bytes.Contains(cmdline, []byte("="+dir+"/")) || bytes.Contains(cmdline, []byte("\x00"+dir+"/")))
}
