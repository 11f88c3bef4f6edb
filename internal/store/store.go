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
//	└── vms                 one row for each one-shot VM
//	      id                TEXT PRIMARY KEY, vm-0123456789ab
//	      environment       TEXT, the name the user gave
//	      image_digest      TEXT, sha256:... of the image; empty for host-compat
//	      driver            TEXT, runtime.Driver.Name
//	      state             TEXT, a [State]
//	      ephemeral         INTEGER, 1: belongs to one call and dies with it
//	      allow_host_compat INTEGER
//	      vcpu_count, mem_mib, disk_mib, pid_limit, ttl_seconds   INTEGER
//	      network           INTEGER
//	      created_at, expires_at   INTEGER, Unix milliseconds
//
// # Durability
//
// The file is in WAL mode. A record of lasting things is synced before the call
// returns (synchronous=FULL). A record of an ephemeral VM is not: losing it in a
// power failure loses nothing, because the VM is gone as well and leftovers of
// unknown ids are removed. A process that is killed loses neither.
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
	if durable != s.durable {
		pragma := "PRAGMA synchronous=NORMAL"
		if durable {
			pragma = "PRAGMA synchronous=FULL"
		}
		if _, err := s.db.ExecContext(ctx, pragma); err != nil {
			return nil, s.fail(err)
		}
		s.durable = durable
	}
	res, err := s.db.ExecContext(ctx, query, args...)
	return res, s.fail(err)
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
