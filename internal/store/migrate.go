package store

import (
	"context"
	"fmt"
	"time"

	"pyro/api"
)

// migrations bring the schema from version i to i+1. An entry that was released
// never changes; a new version is a new entry.
var migrations = []string{
	`CREATE TABLE vms (
		id                TEXT PRIMARY KEY,
		environment       TEXT NOT NULL,
		image_digest      TEXT NOT NULL,
		driver            TEXT NOT NULL,
		state             TEXT NOT NULL,
		ephemeral         INTEGER NOT NULL,
		allow_host_compat INTEGER NOT NULL,
		vcpu_count        INTEGER NOT NULL,
		mem_mib           INTEGER NOT NULL,
		disk_mib          INTEGER NOT NULL,
		pid_limit         INTEGER NOT NULL,
		ttl_seconds       INTEGER NOT NULL,
		network           INTEGER NOT NULL,
		created_at        INTEGER NOT NULL,
		expires_at        INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`,

	`CREATE TABLE workspaces (
		id               TEXT PRIMARY KEY,
		environment      TEXT NOT NULL,
		image_digest     TEXT NOT NULL,
		driver           TEXT NOT NULL,
		state            TEXT NOT NULL,
		machine          TEXT NOT NULL,
		generation       INTEGER NOT NULL,
		vcpu_count       INTEGER NOT NULL,
		mem_mib          INTEGER NOT NULL,
		disk_mib         INTEGER NOT NULL,
		pid_limit        INTEGER NOT NULL,
		ttl_seconds      INTEGER NOT NULL,
		network          INTEGER NOT NULL,
		seed_mode        TEXT NOT NULL,
		seed_path        TEXT NOT NULL,
		seed_entries     INTEGER NOT NULL,
		seed_bytes       INTEGER NOT NULL,
		disk             TEXT NOT NULL,
		disk_source      TEXT NOT NULL,
		saved_at         INTEGER NOT NULL,
		commands         INTEGER NOT NULL,
		reset_count      INTEGER NOT NULL,
		last_reset_at    INTEGER NOT NULL,
		last_activity_at INTEGER NOT NULL,
		created_at       INTEGER NOT NULL,
		expires_at       INTEGER NOT NULL,
		recovery         TEXT NOT NULL
	) STRICT, WITHOUT ROWID;

	CREATE TABLE snapshots (
		workspace  TEXT NOT NULL REFERENCES workspaces ON DELETE CASCADE,
		name       TEXT NOT NULL,
		disk       TEXT NOT NULL,
		created_at INTEGER NOT NULL,
		size_bytes INTEGER NOT NULL,
		PRIMARY KEY (workspace, name)
	) STRICT, WITHOUT ROWID;

	CREATE TABLE commands (
		workspace    TEXT NOT NULL REFERENCES workspaces ON DELETE CASCADE,
		sequence     INTEGER NOT NULL,
		argv         TEXT NOT NULL,
		cwd          TEXT NOT NULL,
		state        TEXT NOT NULL,
		exit_code    INTEGER NOT NULL,
		started_at   INTEGER NOT NULL,
		duration_ms  INTEGER NOT NULL,
		stdout_bytes INTEGER NOT NULL,
		stderr_bytes INTEGER NOT NULL,
		limit_error  TEXT NOT NULL,
		PRIMARY KEY (workspace, sequence)
	) STRICT, WITHOUT ROWID`,

	`ALTER TABLE workspaces ADD COLUMN name TEXT NOT NULL DEFAULT '';
	ALTER TABLE workspaces ADD COLUMN labels TEXT NOT NULL DEFAULT '';
	CREATE UNIQUE INDEX workspaces_name ON workspaces (name) WHERE name != ''`,

	`ALTER TABLE vms ADD COLUMN network_policy TEXT NOT NULL DEFAULT '';
	ALTER TABLE workspaces ADD COLUMN network_policy TEXT NOT NULL DEFAULT ''`,

	`ALTER TABLE vms ADD COLUMN kernel TEXT NOT NULL DEFAULT '';
	ALTER TABLE workspaces ADD COLUMN kernel TEXT NOT NULL DEFAULT ''`,
}

const createSchema = `CREATE TABLE IF NOT EXISTS schema (
	version    INTEGER PRIMARY KEY,
	applied_at INTEGER NOT NULL
) STRICT`

// migrate applies what is missing, each version in one transaction with the row
// that records it.
func (s *Store) migrate(ctx context.Context) error {
	have, err := s.version(ctx)
	if err != nil {
		return err
	}
	if have > len(migrations) {
		return api.Errorf(api.KindUnavailable, "database %s was written by a newer pyro (schema %d, this one knows %d)", s.path, have, len(migrations)).
			WithHint("use the newer pyro, or set PYRO_STATE_DIR to another folder")
	}
	for v := have + 1; v <= len(migrations); v++ {
		if err := s.apply(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// version returns the newest applied version, 0 for a new file.
func (s *Store) version(ctx context.Context) (int, error) {
	var tables, version int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema'`).Scan(&tables)
	if err == nil && tables > 0 {
		err = s.db.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema`).Scan(&version)
	}
	return version, s.fail(err)
}

func (s *Store) apply(ctx context.Context, version int) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.fail(err)
	}
	defer tx.Rollback()
	for _, statement := range []string{
		createSchema,
		migrations[version-1],
		fmt.Sprintf("INSERT INTO schema VALUES (%d, %d)", version, time.Now().UnixMilli()),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return s.fail(err)
		}
	}
	return s.fail(tx.Commit())
}
