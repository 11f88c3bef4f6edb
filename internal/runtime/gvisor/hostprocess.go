package gvisor

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"pyro/internal/network/uplink"
	"pyro/internal/runtime/hostprocess"
)

// findProcesses looks through the whole host for sandboxes and gofers whose
// bundle lies in the given machine's folder, and for uplinks of the machine. It
// is for machines whose record is incomplete because their maker was killed.
func findProcesses(dir string) []hostprocess.Process {
	var found []hostprocess.Process
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range processes {
		cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		if err != nil || !ofMachine(cmdline, dir) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if p, err := hostprocess.Identify(pid); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// ofMachine judges by a command line, whose arguments end with a zero byte.
func ofMachine(cmdline []byte, dir string) bool {
	if bytes.HasPrefix(cmdline, []byte(uplink.Name+"\x00")) {
		return bytes.Contains(cmdline, []byte("="+dir+"\x00"))
	}
	// "--bundle=DIR/..." or "--bundle", "DIR/..."
	return bytes.HasPrefix(cmdline, []byte("runsc-")) &&
		(bytes.Contains(cmdline, []byte("="+dir+"/")) || bytes.Contains(cmdline, []byte("\x00"+dir+"/")))
}
