package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// released are the schemas as released versions of pyro made them, copied from
// such files. They stay as they are, whatever becomes of migrations.
var released = []string{
	`CREATE TABLE schema (
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
	INSERT INTO schema VALUES (1, 1700000000000);
	INSERT INTO vms VALUES ('vm-000000000001', 'debian:12', '', 'gvisor', 'created', 0, 1, 2, 512, 100, 64, 60, 1, 1700000000123, 1700000060123);`,
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
