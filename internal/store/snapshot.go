package store

import (
	"context"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"pyro/api"
)

// Snapshot is a row of the table snapshots; see the package comment. The
// baseline is none: it is the workspace's own.
type Snapshot struct {
	Workspace string
	Name      string
	Disk      string    // id of the saved disk
	CreatedAt time.Time // milliseconds are kept
	SizeBytes int64     // what the disk takes on the host
}

func (n *Snapshot) pointers() []any {
	return []any{&n.Workspace, &n.Name, &n.Disk, (*timestamp)(&n.CreatedAt), &n.SizeBytes}
}

// InsertSnapshot adds a row; it is durable. A name that the workspace has already
// is an error of kind conflict, a workspace that there is not one of kind
// not_found.
func (s *Store) InsertSnapshot(ctx context.Context, n Snapshot) error {
	_, err := s.exec(ctx, true, `INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)`,
		n.Workspace, n.Name, n.Disk, millis(n.CreatedAt), n.SizeBytes)
	if violates(err, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) {
		return api.Errorf(api.KindConflict, "workspace %s has a snapshot %q already", n.Workspace, n.Name).
			WithHint("choose another name, or delete it first: pyro workspace snapshot delete %s %s", n.Workspace, n.Name)
	}
	return orphan(err, n.Workspace)
}

// DeleteSnapshot removes a row; it is durable. A missing row is not an error.
func (s *Store) DeleteSnapshot(ctx context.Context, workspace, name string) error {
	_, err := s.exec(ctx, true, `DELETE FROM snapshots WHERE workspace = ? AND name = ?`, workspace, name)
	return err
}

// Snapshots returns the snapshots of a workspace, oldest first.
func (s *Store) Snapshots(ctx context.Context, workspace string) ([]Snapshot, error) {
	return query(ctx, s, (*Snapshot).pointers,
		`SELECT workspace, name, disk, created_at, size_bytes FROM snapshots WHERE workspace = ? ORDER BY created_at, name`, workspace)
}

// orphan names the workspace that a new row should have belonged to, if err says
// that it is not there.
func orphan(err error, workspace string) error {
	if violates(err, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY) {
		return api.Errorf(api.KindNotFound, "there is no workspace %s", workspace).
			WithHint("list the workspaces with: pyro workspace list")
	}
	return err
}
