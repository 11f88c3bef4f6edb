package qemu

import (
	"bytes"

	"pyro/internal/runtime"
	"pyro/internal/runtime/hostprocess"
	"pyro/internal/runtime/machines"
)

// record is machine.json: what a later process needs to know of a machine.
type record struct {
	Spec  runtime.Spec        `json:"spec"`
	QEMU  hostprocess.Process `json:"qemu"` // known once it runs
	Accel accelerator         `json:"accel"`
	// Uplink is the newest process at the far end of the machine's network.
	Uplink hostprocess.Process `json:"uplink,omitzero"`
	Vsock  *vsockAddress       `json:"vsock,omitempty"` // nil: over the serial port
}

func readRecord(dir string) (record, error)  { return machines.ReadRecord[record](dir) }
func writeRecord(dir string, r record) error { return machines.WriteRecord(dir, r) }

// change changes the record of a machine that runs. Only what is written counts.
func (m *machine) change(what func(*record)) error {
	m.recording.Lock()
	defer m.recording.Unlock()
	rec := m.rec
	what(&rec)
	if err := writeRecord(m.driver.machineDir(m.ID()), rec); err != nil {
		return err
	}
	m.rec.Uplink, m.rec.Vsock = rec.Uplink, rec.Vsock
	return nil
}

// findProcesses looks through the whole host for a machine whose record is
// incomplete because its maker was killed.
func findProcesses(dir string) []hostprocess.Process {
	return hostprocess.Find("environ", func(environ []byte) bool {
		return bytes.Contains(environ, []byte(folderEnv+dir+"\x00"))
	})
}
