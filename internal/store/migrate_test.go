package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// releasedVMs is what files have had from the first version on, with a VM.
const releasedVMs = `CREATE TABLE schema (
		version    INTEGER PRIMARY KEY,
		applied_at INTEGER NOT NULL
	) STRICT;
	CREATE TABLE vms (
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
	) STRICT, WITHOUT ROWID;
	INSERT INTO vms VALUES ('vm-000000000001', 'debian:12', '', 'gvisor', 'created', 0, 1, 2, 512, 100, 64, 60, 1, 1700000000123, 1700000060123);
`

// released are the schemas as released versions of pyro made them, copied from
// such files. They stay as they are, whatever becomes of migrations.
var released = []string{
	releasedVMs + `INSERT INTO schema VALUES (1, 1700000000000);`,

	releasedVMs + `CREATE TABLE workspaces (
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
	) STRICT, WITHOUT ROWID;
	INSERT INTO schema VALUES (1, 1700000000000), (2, 1700000000001);
	INSERT INTO workspaces VALUES ('ws-000000000002', 'debian:12', 'sha256:ab', 'gvisor', 'stopped', '', 1, 1, 2, 3, 4, 0, 0,
		'empty', '', 0, 0, '', 'baseline', 0, 0, 0, 0, 1700000000123, 1700000000123, 0, '');`,
}

// TestMigrate brings a file of each released version up to date: its rows stay,
// and the new tables work.
func TestMigrate(t *testing.T) {
	for i, schema := range released {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(schema); err != nil {
				t.Fatal(err)
			}
			db.Close()

			for range 2 { // the second time there is nothing to do
				s := open(t, path)
				vms, err := s.VMs(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff([]VM{sampleVM("vm-000000000001")}, vms); d != "" {
					t.Error(d)
				}
				if v, err := s.version(t.Context()); err != nil || v != len(migrations) {
					t.Errorf("version %d, %v", v, err)
				}
				if all := workspaces(t, s); i >= 1 && (len(all) != 1 || all[0].ID != "ws-000000000002" || all[0].Name != "" || all[0].Labels != "") {
					t.Errorf("workspaces %+v", all)
				}
				s.Close()
			}
			s := open(t, path)
			insertWorkspace(t, s, sampleWorkspace(workspace))
			fill(t, s, workspace)
			if d := cmp.Diff(tables(t, open(t, filepath.Join(t.TempDir(), "new"))), tables(t, s)); d != "" {
				t.Errorf("a migrated file differs from a new one: %s", d)
			}
		})
	}
}

// tables returns the columns of every table, as name.column type.
func tables(t *testing.T, s *Store) []string {
	t.Helper()
	rows, err := s.db.Query(`SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || c."notnull" || ' ' || c.pk
		FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			t.Fatal(err)
		}
		all = append(all, column)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
