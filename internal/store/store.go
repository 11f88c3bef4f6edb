// Package store keeps the background process's records in one SQLite file.
//
// The background process is the only one that opens the file; a lock beside it
// (paths.Dirs.Lock) sees to that. Records say what was intended and what was
// reached, so that the next process can compare them with reality after a crash.
// What is live (connections, running commands, measurements) is never stored.
//
//	pyro.db
//	├── schema              one row for each migration that was applied
//	│     version           INTEGER PRIMARY KEY, 1...
//	│     applied_at        INTEGER, Unix milliseconds
//	├── vms                 one row for each one-shot VM
//	│     id                TEXT PRIMARY KEY, vm-0123456789ab
//	│     environment       TEXT, the name the user gave
//	│     image_digest      TEXT, sha256:... of the image; empty for host-compat
//	│     driver            TEXT, runtime.Driver.Name
//	│     state             TEXT, a [State]
//	│     ephemeral         INTEGER, 1: belongs to one call and dies with it
//	│     allow_host_compat INTEGER
//	│     vcpu_count, mem_mib, disk_mib, pid_limit, ttl_seconds   INTEGER
//	│     network           INTEGER
//	│     created_at, expires_at   INTEGER, Unix milliseconds
//	├── workspaces          one row for each workspace
//	│     id                TEXT PRIMARY KEY, ws-0123456789ab
//	│     environment, image_digest, driver   TEXT, as in vms
//	│     state             TEXT, a [WorkspaceState]
//	│     machine           TEXT, the sandbox with its present state; empty if none
//	│     generation        INTEGER, how many sandboxes it has had
//	│     vcpu_count, mem_mib, disk_mib, pid_limit, ttl_seconds, network   INTEGER
//	│     seed_mode, seed_path   TEXT
//	│     seed_entries, seed_bytes   INTEGER
//	│     disk              TEXT, the saved disk it comes back from; empty is the baseline
//	│     disk_source       TEXT, autosave, baseline or snapshot
//	│     saved_at          INTEGER, when disk was saved
//	│     commands          INTEGER, sequence of the newest command
//	│     reset_count       INTEGER
//	│     last_reset_at, last_activity_at, created_at, expires_at   INTEGER
//	│     recovery          TEXT, JSON of an api.Recovery; empty if none
//	│     name              TEXT, unique unless empty
//	│     labels            TEXT, JSON object of strings; empty if none
//	├── snapshots           one row for each named snapshot
//	│     workspace, name   TEXT PRIMARY KEY
//	│     disk              TEXT, the saved disk
//	│     created_at, size_bytes   INTEGER
//	└── commands            one row for each command of a workspace's log
//	      workspace, sequence   PRIMARY KEY; sequence is INTEGER, 1...
//	      argv              TEXT, JSON array; each element base64, because an
//	                        argument need not be UTF-8
//	      cwd               TEXT, the bytes as they are
//	      state             TEXT, an api.CommandState
//	      exit_code, started_at, duration_ms, stdout_bytes, stderr_bytes   INTEGER
//	      limit_error       TEXT, JSON of an api.Error; empty if none
//
// All times are Unix milliseconds, 0 for a time that there is not. A snapshot or
// command belongs to its workspace: it cannot be added without one and goes with
// it. What commands wrote is in files (package commandlog), not here.
//
// # Durability
//
// The file is in WAL mode. A record of lasting things is synced before the call
// returns (synchronous=FULL). A record of an ephemeral VM is not: losing it in a
// power failure loses nothing, because the VM is gone as well and leftovers of
// unknown ids are removed. Nor is a command's, which comes too often for a sync:
// a power failure may take the newest. A process that is killed loses neither.
//
// # Errors
//
// A full or failing disk is kind storage. A file that is not a database, is
// damaged or was written by a newer pyro is refused when it is opened, with a
// hint; it is never altered or replaced.
package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"pyro/api"
)

// Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	path string
	db   *sql.DB

	mu      sync.Mutex // one writer at a time; guards durable
	durable bool       // what synchronous is set to now
}

// Open opens the database file at path, makes it if there is none, and brings
// its schema up to date.
func Open(ctx context.Context, path string) (*Store, error) {
	// One connection: SQLite has one writer anyway, and settings belong to a connection.
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "database %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	s := &Store{path: path, db: db, durable: true}
	if err := s.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.fail(s.db.Close()) }

// exec runs one statement as a transaction of its own. With durable set it is
// on the disk when exec returns.
func (s *Store) exec(ctx context.Context, durable bool, query string, args ...any) (sql.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.setDurable(ctx, durable); err != nil {
		return nil, err
	}
	res, err := s.db.ExecContext(ctx, query, args...)
	return res, s.fail(err)
}

// transact runs do as one durable transaction, which is undone if do fails.
// Inside it only tx may be used: the Store has no second connection.
func (s *Store) transact(ctx context.Context, do func(tx *sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.setDurable(ctx, true); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.fail(err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return s.fail(err)
	}
	return s.fail(tx.Commit())
}

// setDurable sets whether the next transaction is synced. The caller holds mu;
// SQLite takes the setting only between transactions.
func (s *Store) setDurable(ctx context.Context, durable bool) error {
	if durable == s.durable {
		return nil
	}
	pragma := "PRAGMA synchronous=NORMAL"
	if durable {
		pragma = "PRAGMA synchronous=FULL"
	}
	if _, err := s.db.ExecContext(ctx, pragma); err != nil {
		return s.fail(err)
	}
	s.durable = durable
	return nil
}

// fail turns an error of SQLite into one of pyro.
func (s *Store) fail(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return api.Errorf(api.KindInternal, "database %s: %w", s.path, err)
	}
	switch e.Code() & 0xff { // extended codes carry the primary one in the low byte
	case sqlite3.SQLITE_FULL:
		return api.Errorf(api.KindStorage, "database %s cannot grow: the disk is full", s.path).
			WithHint("free some space, for example with: pyro env prune")
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return api.Errorf(api.KindStorage, "database %s cannot be read or written: %w", s.path, err).
			WithHint("check the disk and the owner of the folder, or set PYRO_STATE_DIR to another one")
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return api.Errorf(api.KindStorage, "database %s is damaged: %w", s.path, err).
			WithHint("move it away (mv %s %s.damaged); pyro makes a new one and removes what runs without a record", s.path, s.path)
	}
	return api.Errorf(api.KindInternal, "database %s: %w", s.path, err)
}

// violates reports whether err is SQLite's complaint about one constraint, a
// SQLITE_CONSTRAINT_ code.
func violates(err error, code int) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == code
}
