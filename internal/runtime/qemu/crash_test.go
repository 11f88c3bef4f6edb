package qemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pyro/api"
	"pyro/internal/network/policy"
	"pyro/internal/runtime"
)

func (w world) spec(id string) runtime.Spec {
	return runtime.Spec{ID: id, Image: w.image, VCPUs: 1, MemoryBytes: 256 << 20, DiskBytes: 128 << 20, PIDs: 64}
}

// nothingLeft looks for the machine's folder and for processes that name it.
func nothingLeft(t *testing.T, dir, id string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "machines", id)); err == nil {
		t.Errorf("the folder of %s is left", id)
	}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if b, _ := os.ReadFile(file); strings.Contains(string(b), "\x00-name\x00"+id+"\x00") && ofFolder(file, dir) || strings.Contains(string(b), dir) {
			t.Errorf("%s is left: %.100q", file, b)
		}
	}
}

// ofFolder says whether a process was started for a machine of the folder. The
// names of machines may be another run's as well.
func ofFolder(cmdline, dir string) bool {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(cmdline), "environ"))
	return err != nil && !errors.Is(err, fs.ErrPermission) || strings.Contains(string(b), dir)
}

// TestGuestPanic: a guest whose kernel dies is a typed error that shows the
// kernel's last words.
func TestGuestPanic(t *testing.T) {
	w, dir := environment(t), t.TempDir()
	d := w.driver(t, dir)
	m, err := d.Create(t.Context(), w.spec("panic-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := m.Start(t.Context(), runtime.Command{Argv: []string{"sh", "-c", "echo c >/proc/sysrq-trigger; sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); api.KindOf(err) != api.KindSandboxDied {
		t.Errorf("the command: %+v, %v", exit, err)
	}
	<-m.Done()
	if err := m.Err(); api.KindOf(err) != api.KindSandboxDied || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("the machine: %v", err)
	}
	if err := d.Remove(t.Context(), "panic-1"); err != nil {
		t.Error(err)
	}
	nothingLeft(t, dir, "panic-1")
}

// TestNoAnswer: a guest that does not come up within its time leaves nothing.
func TestNoAnswer(t *testing.T) {
	w, dir := environment(t), t.TempDir()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, api.Errorf(api.KindUnavailable, "too late"))
	defer cancel()
	m, err := w.driver(t, dir).Create(ctx, w.spec("mute-1"))
	if err == nil {
		m.Close()
		t.Fatal("a guest answered before its kernel can have started")
	}
	if api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "too late") {
		t.Errorf("the error is %v", err)
	}
	nothingLeft(t, dir, "mute-1")
}

// TestNoKernel: what is no kernel is refused by QEMU, whose words are shown.
func TestNoKernel(t *testing.T) {
	w, dir := environment(t), t.TempDir()
	s := w.spec("nokernel-1")
	s.Kernel = filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(s.Kernel, []byte("no kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := w.driver(t, dir).Create(ctx, s)
	if api.KindOf(err) != api.KindSandboxDied || !strings.Contains(err.Error(), "kernel") {
		t.Errorf("the error is %v", err)
	}
	nothingLeft(t, dir, s.ID)
}

// TestMakerKilled: a machine whose maker was killed before it could write down
// the processes is removed all the same.
func TestMakerKilled(t *testing.T) {
	w, dir := environment(t), t.TempDir()
	s := w.spec("orphan-1")
	s.Network = &runtime.Network{Policy: policy.Allowlist()}
	m, err := w.driver(t, dir).Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	file := filepath.Join(dir, "machines", "orphan-1", "machine.json")
	b, err := json.Marshal(map[string]any{"spec": s})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.driver(t, dir).Remove(t.Context(), "orphan-1"); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir, "orphan-1")
}

// TestNoImage: an image that is gone is named.
func TestNoImage(t *testing.T) {
	w, dir := environment(t), t.TempDir()
	s := w.spec("noimage-1")
	s.Image = filepath.Join(dir, "none.erofs")
	if _, err := w.driver(t, dir).Create(t.Context(), s); api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "none.erofs") {
		t.Errorf("the error is %v", err)
	}
	nothingLeft(t, dir, s.ID)
}
