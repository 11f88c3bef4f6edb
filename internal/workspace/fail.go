package workspace

// hit marks a step at which tests end the process or fill the disk.
func (m *Manager) hit(step string) error {
	return storageErrorOrNil("workspace", m.failpoint("workspace-"+step))
}
