package store

import (
	"context"
	"database/sql"
	"time"

	"pyro/api"
)

// WorkspaceState is how far a workspace has come. It has more values than
// api.WorkspaceState, because it also records what was about to happen.
type WorkspaceState string

// The states of a workspace. Creating and deleting are intents: a row that a new
// process finds in one of them belongs to an action that was cut off.
const (
	WorkspaceCreating WorkspaceState = "creating"
	WorkspaceStarted  WorkspaceState = "started"
	WorkspaceStopped  WorkspaceState = "stopped"
	WorkspaceDeleting WorkspaceState = "deleting"
)

// Workspace is a row of the table workspaces; see the package comment. Of times,
// milliseconds are kept; the zero time stays the zero time.
type Workspace struct {
	ID          string
	Name        string // "" if it has none; no two have the same
	Labels      string // JSON object of strings; "" if there are none
	Environment string
	ImageDigest string
	Driver      string
	State       WorkspaceState
	Machine     string // id of the sandbox that holds its present state; "" if none
	Generation  int    // counts the sandboxes it has had; the next machine's id is made from it

	VCPUCount  int
	MemMiB     int
	DiskMiB    int
	PIDLimit   int
	TTLSeconds int // 0 is no end
	Network    bool
	// NetworkPolicy is the JSON of a policy file; "" without network.
	NetworkPolicy string
	Kernel        string // path of the user's own, "" for the default

	SeedMode    string // an api.SeedMode
	SeedPath    string
	SeedEntries int
	SeedBytes   int64

	Disk       string    // id of the saved disk that it comes back from; "" is the baseline
	DiskSource string    // autosave, baseline or snapshot
	SavedAt    time.Time // when Disk was saved; zero if never

	Commands       int // sequence of the newest command
	ResetCount     int
	LastResetAt    time.Time // zero if never
	LastActivityAt time.Time
	CreatedAt      time.Time
	ExpiresAt      time.Time // zero if never
	Recovery       string    // JSON of an api.Recovery; "" if none
}

// workspaceColumns are in the order of fields and of pointers below, the id last.
const workspaceColumns = `environment, image_digest, driver, state, machine, generation,
	vcpu_count, mem_mib, disk_mib, pid_limit, ttl_seconds, network,
	seed_mode, seed_path, seed_entries, seed_bytes, disk, disk_source, saved_at,
	commands, reset_count, last_reset_at, last_activity_at, created_at, expires_at, recovery, name, labels, network_policy, kernel, id`

const updateWorkspace = `UPDATE workspaces SET (` + workspaceColumns + `) =
	(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?`

func (w *Workspace) fields() []any {
	return []any{
		w.Environment, w.ImageDigest, w.Driver, string(w.State), w.Machine, w.Generation,
		w.VCPUCount, w.MemMiB, w.DiskMiB, w.PIDLimit, w.TTLSeconds, w.Network,
		w.SeedMode, w.SeedPath, w.SeedEntries, w.SeedBytes, w.Disk, w.DiskSource, millis(w.SavedAt),
		w.Commands, w.ResetCount, millis(w.LastResetAt), millis(w.LastActivityAt), millis(w.CreatedAt), millis(w.ExpiresAt),
		w.Recovery, w.Name, w.Labels, w.NetworkPolicy, w.Kernel, w.ID,
	}
}

func (w *Workspace) pointers() []any {
	return []any{
		&w.Environment, &w.ImageDigest, &w.Driver, &w.State, &w.Machine, &w.Generation,
		&w.VCPUCount, &w.MemMiB, &w.DiskMiB, &w.PIDLimit, &w.TTLSeconds, &w.Network,
		&w.SeedMode, &w.SeedPath, &w.SeedEntries, &w.SeedBytes, &w.Disk, &w.DiskSource, (*timestamp)(&w.SavedAt),
		&w.Commands, &w.ResetCount, (*timestamp)(&w.LastResetAt), (*timestamp)(&w.LastActivityAt), (*timestamp)(&w.CreatedAt), (*timestamp)(&w.ExpiresAt),
		&w.Recovery, &w.Name, &w.Labels, &w.NetworkPolicy, &w.Kernel, &w.ID,
	}
}

// InsertWorkspace adds a row; it is durable.
func (s *Store) InsertWorkspace(ctx context.Context, w Workspace) error {
	_, err := s.exec(ctx, true, `INSERT INTO workspaces (`+workspaceColumns+`) VALUES
		(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, w.fields()...)
	return err
}

// UpdateWorkspace writes the whole row anew; durable says whether this must
// survive a power failure. A missing row is an error of kind internal.
func (s *Store) UpdateWorkspace(ctx context.Context, w Workspace, durable bool) error {
	res, err := s.exec(ctx, durable, updateWorkspace, append(w.fields(), w.ID)...)
	if err != nil {
		return err
	}
	return s.mustHave(res, w.ID)
}

// ResetWorkspace writes the whole row anew and removes the workspace's commands,
// both or neither, durably. A missing row is an error of kind internal.
func (s *Store) ResetWorkspace(ctx context.Context, w Workspace) error {
	return s.transact(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, updateWorkspace, append(w.fields(), w.ID)...)
		if err != nil {
			return err
		}
		if err := s.mustHave(res, w.ID); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM commands WHERE workspace = ?`, w.ID)
		return err
	})
}

// mustHave turns an update that met no row into an error.
func (s *Store) mustHave(res sql.Result, id string) error {
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return api.Errorf(api.KindInternal, "database %s has no workspace %s", s.path, id)
	}
	return nil
}

// DeleteWorkspace removes a workspace with its snapshots and commands, all or
// nothing, durably. A missing row is not an error.
func (s *Store) DeleteWorkspace(ctx context.Context, id string) error {
	// The references to it say ON DELETE CASCADE, and one statement is one transaction.
	_, err := s.exec(ctx, true, `DELETE FROM workspaces WHERE id = ?`, id)
	return err
}

// Workspaces returns all rows, oldest first.
func (s *Store) Workspaces(ctx context.Context) ([]Workspace, error) {
	return query(ctx, s, (*Workspace).pointers, `SELECT `+workspaceColumns+` FROM workspaces ORDER BY created_at, id`)
}
