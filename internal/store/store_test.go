package store

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func sampleVM(id string) VM {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return VM{
		ID: id, Environment: "debian:12", Driver: "gvisor", State: Created, VCPUCount: 2, MemMiB: 512, DiskMiB: 100,
		PIDLimit: 64, TTLSeconds: 60, Network: true, AllowHostCompat: true, CreatedAt: at, ExpiresAt: at.Add(time.Minute),
	}
}

func TestVMRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space?%41.db")
	s := open(t, path)
	first, second := sampleVM("vm-000000000001"), sampleVM("vm-000000000002")
	second.Ephemeral = true
	second.NetworkPolicy = `{"version":1}`
	second.CreatedAt = second.CreatedAt.Add(time.Second)
	for _, vm := range []VM{second, first} {
		if err := s.InsertVM(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetVM(t.Context(), first.ID, Started, "sha256:ab"); err != nil {
		t.Fatal(err)
	}
	first.State, first.ImageDigest = Started, "sha256:ab"
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}

	s = open(t, path)
	got, err := s.VMs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]VM{first, second}, got); d != "" {
		t.Error(d)
	}
	for range 2 {
		if err := s.DeleteVM(t.Context(), first.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	if got, err = s.VMs(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("after delete: %v, %v", got, err)
	}
	if err := s.SetVM(t.Context(), first.ID, Stopped, ""); err == nil {
		t.Error("the state of a VM without a row was set")
	}
}

func TestConcurrentWriters(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			vm := sampleVM("vm-" + strings.Repeat("0", 11) + string(rune('a'+i)))
			vm.Ephemeral = i%2 == 0
			if err := s.InsertVM(t.Context(), vm); err != nil {
				t.Error(err)
			}
			if err := s.DeleteVM(t.Context(), vm.ID, !vm.Ephemeral); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := s.VMs(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("left: %v, %v", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		kind api.Kind
		want string
	}{
		{"not a database", func(t *testing.T, path string) {
			write(t, path, bytes.Repeat([]byte("nonsense"), 1000))
		}, api.KindStorage, "is damaged"},
		{"damaged pages", func(t *testing.T, path string) {
			open(t, path).Close()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(b[100:], bytes.Repeat([]byte{0xa5}, 4000)) // behind the header: the schema's page
			write(t, path, b)
		}, api.KindStorage, "is damaged"},
		{"newer", func(t *testing.T, path string) {
			open(t, path).Close()
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec("INSERT INTO schema VALUES (99, 0)"); err != nil {
				t.Fatal(err)
			}
		}, api.KindUnavailable, "newer pyro (schema 99"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, api.KindStorage, "cannot be read or written"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pyro.db")
			tc.make(t, path)
			_, err := Open(t.Context(), path)
			if api.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) || api.AsError(err).Hint == "" {
				t.Errorf("got %v (kind %q, hint %q), want kind %q with %q and a hint", err, api.KindOf(err), api.AsError(err).Hint, tc.kind, tc.want)
			}
		})
	}
}

// A full disk is simulated by SQLite's own limit on the number of pages, which
// gives the same error as ENOSPC does.
func TestFullDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	if _, err := s.db.Exec("PRAGMA max_page_count=3"); err != nil {
		t.Fatal(err)
	}
	vm := sampleVM("vm-000000000001")
	vm.Environment = strings.Repeat("e", 1<<16)
	if err := s.InsertVM(t.Context(), vm); api.KindOf(err) != api.KindStorage {
		t.Errorf("got %v, kind %q", err, api.KindOf(err))
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkOpenNew(b *testing.B) {
	for b.Loop() {
		s := open(b, filepath.Join(b.TempDir(), "db"))
		s.Close()
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	open(b, path).Close()
	for b.Loop() {
		open(b, path).Close()
	}
}

func BenchmarkInsertDelete(b *testing.B) {
	for _, ephemeral := range []bool{false, true} {
		name := map[bool]string{false: "durable", true: "ephemeral"}[ephemeral]
		b.Run(name, func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "db"))
			vm := sampleVM("vm-000000000001")
			vm.Ephemeral = ephemeral
			for b.Loop() {
				if err := s.InsertVM(b.Context(), vm); err != nil {
					b.Fatal(err)
				}
				if err := s.DeleteVM(b.Context(), vm.ID, !ephemeral); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
