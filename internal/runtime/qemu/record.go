package qemu

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"

	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
)

// record is machine.json: what a later process needs to know of a machine.
type record struct {
	Spec  runtime.Spec        `json:"spec"`
	QEMU  hostprocess.Process `json:"qemu"` // known once it runs
	Accel accelerator         `json:"accel"`
}

const recordFile = "machine.json"

func readRecord(dir string) (record, error) {
	var r record
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

// writeRecord replaces machine.json. It is not synced: after a power cut the
// machine is gone and any content, or none, leads to its removal.
func writeRecord(dir string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, recordFile+".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, recordFile))
}

// findProcesses looks through the whole host for a machine whose record is
// incomplete because its maker was killed.
func findProcesses(dir string) []hostprocess.Process {
	var found []hostprocess.Process
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range processes {
		environ, err := os.ReadFile(filepath.Join(proc, "environ"))
		if err != nil || !bytes.Contains(environ, []byte(folderEnv+dir+"\x00")) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if p, err := hostprocess.Identify(pid); err == nil {
			found = append(found, p)
		}
	}
	return found
}
