package workspace

import (
	"context"
	"os"
	"time"

	"pyro/api"
	"pyro/internal/store"
)

// deleteRetry is how long a deletion that failed is not tried again.
const deleteRetry = 10 * time.Second

// Delete ends the machine and frees everything. It goes on when the caller goes away.
func (m *Manager) Delete(_ context.Context, id string) (api.DeletedWorkspace, error) {
	in, err := m.lookup(id)
	if err != nil {
		return api.DeletedWorkspace{}, err
	}
	return m.delete(in, api.Errorf(api.KindCanceled, "%s was deleted", in.what()).WithHint("pyro workspace list"))
}

// delete deletes the workspace; why is what those get who use it.
func (m *Manager) delete(in *instance, why *api.Error) (api.DeletedWorkspace, error) {
	in.end(why)
	in.act.lock()
	defer in.act.unlock()
	if _, err := m.lookup(in.id); err != nil { // somebody was faster
		return api.DeletedWorkspace{}, err
	}
	err := m.set(context.Background(), in, true, func(r *store.Workspace) { r.State = store.WorkspaceDeleting })
	if err != nil {
		m.log.Error("intent to delete is not recorded", "workspace", in.id, "error", err) // a full disk must not keep workspaces alive
	}
	in.takeLife(why)
	size := in.public().DiskBytes
	if err := m.hit("delete-recorded"); err != nil {
		m.log.Error("deleting", "workspace", in.id, "error", err)
	}
	if err := m.destroy(in); err != nil {
		time.AfterFunc(deleteRetry, func() { _, _ = m.delete(in, why) })
		return api.DeletedWorkspace{}, err
	}
	m.forget(in)
	return api.DeletedWorkspace{WorkspaceID: in.id, Deleted: true, BytesFreed: size}, nil
}

// deleteLater is for a workspace that could not be destroyed, and that nobody
// knows: it is tried again, now and then and whenever someone asks for it.
func (m *Manager) deleteLater(in *instance) {
	why := notFound(in.id)
	in.end(why)
	m.add(in)
	time.AfterFunc(deleteRetry, func() { _, _ = m.delete(in, why) })
}

// destroy frees everything of a workspace whose life was taken or never began.
func (m *Manager) destroy(in *instance) error {
	row := in.record()
	if err := m.hit("delete"); err != nil {
		return err
	}
	if row.Machine != "" {
		if err := in.runtime().Remove(context.Background(), row.Machine); err != nil {
			return err
		}
	}
	in.users.Wait()
	if err := m.hit("delete-machine"); err != nil {
		return err
	}
	if err := os.RemoveAll(in.dir); err != nil {
		return storageError("folder "+in.dir, err)
	}
	if err := m.hit("delete-folder"); err != nil {
		return err
	}
	if err := m.store.DeleteWorkspace(context.Background(), in.id); err != nil {
		return err
	}
	in.mu.Lock()
	image := in.image
	in.image = nil
	in.mu.Unlock()
	if image != nil {
		image.Release()
	}
	return nil
}

// expire deletes a workspace whose TTL has ended.
func (m *Manager) expire(in *instance) {
	why := api.Errorf(api.KindTimeout, "the lifetime of %s ended after %d s", in.what(), in.record().TTLSeconds).
		WithHint("give it more with --ttl-seconds, or leave that out")
	if _, err := m.delete(in, why); err != nil {
		m.log.Error("expired workspace is not deleted, trying again", "workspace", in.id, "error", err)
	}
}
