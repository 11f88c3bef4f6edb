package environment

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pyro/api"
)

func TestPullImage(t *testing.T) {
	reg := serveImages(t)
	name := reg.add(t, "app", layerOf(t, "etc/motd", "hello"))
	m := newManager(t, nil)
	var seen phases
	env, err := m.Pull(t.Context(), name, seen.add)
	check(t, err)
	if diff := cmp.Diff([]string{"install", "resolve", "download", "unpack", "image", "ready"}, seen.list); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	want := strings.TrimPrefix(name, "docker://") + ":latest"
	if env.Name != want || !env.Installed || env.SizeBytes == 0 || !strings.HasPrefix(env.Source, want+" sha256:") {
		t.Errorf("environment %+v", env)
	}
	if diff := cmp.Diff([]string{"/etc/motd=hello"}, contents(t, m, env.Name)); diff != "" {
		t.Error(diff)
	}
	img, err := m.Acquire(t.Context(), name)
	check(t, err)
	defer img.Release()
	st, err := os.Stat(img.Path)
	check(t, err)
	if st.Mode().Perm() != 0o444 || st.Size() != img.SizeBytes || img.Config.User != "app" {
		t.Errorf("image %+v, mode %v, %d bytes", img, st.Mode(), st.Size())
	}
	if got, err := hashFile(t.Context(), img.Path); err != nil || got != img.Digest || got != env.Digest {
		t.Errorf("digest %s, %v; image says %s, environment %s", got, err, img.Digest, env.Digest)
	}
	emptyTmp(t, m)
}

// An installed environment needs no network: neither to be used nor to be pulled.
func TestInstalledNeedsNoNetwork(t *testing.T) {
	reg := serveImages(t)
	name := reg.add(t, "app", layerOf(t, "a", "1"))
	m := newManager(t, nil)
	_, err := m.Pull(t.Context(), name, nil)
	check(t, err)
	reg.host, reg.content = "", nil // everything is a 404 now
	var seen phases
	_, err = m.Pull(t.Context(), name, seen.add)
	check(t, err)
	if diff := cmp.Diff([]string{"install", "ready"}, seen.list); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	offline, err := New(Options{CacheDir: m.cache.dir, Arch: "amd64", Offline: true, Getenv: noEnv})
	check(t, err)
	_, err = offline.Pull(t.Context(), name, nil)
	check(t, err)
	_, err = offline.Pull(t.Context(), "docker://127.0.0.1:1/other", nil)
	wantKind(t, err, api.KindNotInstalled, "127.0.0.1:1/other:latest", "offline", "PYRO_OFFLINE")
	byVariable := newManager(t, func(o *Options) {
		o.Getenv = func(k string) string { return map[string]string{"PYRO_OFFLINE": "1"}[k] }
	})
	_, err = byVariable.Pull(t.Context(), "debian:12", nil)
	wantKind(t, err, api.KindNotInstalled, "debian:12", "offline")
}

// Two goroutines and two processes pull the same: one of them does the work.
func TestConcurrentPulls(t *testing.T) {
	reg := serveImages(t)
	reg.gate = make(chan struct{})
	name := reg.add(t, "app", layerOf(t, "a", noise(1<<20)))
	m := newManager(t, nil)

	seen := make([]phases, 2)
	var group sync.WaitGroup
	for i := range seen {
		group.Go(func() {
			if _, err := m.Pull(t.Context(), name, seen[i].add); err != nil {
				t.Error(err)
			}
		})
	}
	var outputs []string
	var mu sync.Mutex
	for range 2 {
		group.Go(func() {
			cmd, out := child(t, m, name)
			if err := cmd.Run(); err != nil {
				t.Errorf("child: %v\n%s", err, out)
			}
			mu.Lock()
			defer mu.Unlock()
			outputs = append(outputs, out.String())
		})
	}
	// The layer is held back until one of the goroutines waits for somebody.
	for !seen[0].has(phaseWait) && !seen[1].has(phaseWait) && !t.Failed() {
		time.Sleep(5 * time.Millisecond)
	}
	close(reg.gate)
	group.Wait()
	if n := reg.gets(); n != 1 {
		t.Errorf("the layer was fetched %d times", n)
	}
	waited := strings.Count(strings.Join(outputs, ""), "phase=wait")
	for i := range seen {
		if seen[i].has(phaseWait) {
			waited++
		}
	}
	if waited < 1 {
		t.Error("nobody said that it waited")
	}
	emptyTmp(t, m)
}

// However a puller is killed, the next pull succeeds and nothing half-made stays.
func TestKilledPull(t *testing.T) {
	reg := serveImages(t)
	reg.slow = time.Millisecond
	layer := layerOf(t, "a", noise(4<<20), "b", "end")
	m := newManager(t, nil)
	for round := range 12 {
		name := reg.add(t, "app"+string(rune('a'+round)), append(layerOf(t, "round", string(rune('a'+round)))[:1024], layer...))
		cmd, out := child(t, m, name)
		check(t, cmd.Start())
		killed := time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, func() { cmd.Process.Signal(syscall.SIGKILL) })
		err := cmd.Wait()
		killed.Stop()
		if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || strings.Contains(out.String(), "error:") {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		// Whatever is installed now is whole.
		records, err := m.cache.listRecords("amd64")
		check(t, err)
		for _, r := range records {
			check(t, m.verifyImage(t.Context(), r.Image))
		}
		_, err = m.Pull(t.Context(), name, nil)
		check(t, err)
		if got := contents(t, m, name); len(got) != 3 || got[1] != "/b=end" {
			t.Fatalf("round %d: %v", round, got)
		}
	}
	_, err := m.Prune(t.Context(), false)
	check(t, err)
	emptyTmp(t, m)
	blobs, err := os.ReadDir(m.cache.blobs())
	check(t, err)
	if len(blobs) != 0 {
		t.Errorf("blobs left: %v", blobs)
	}
}

func TestDamageIsRepaired(t *testing.T) {
	reg := serveImages(t)
	name := reg.add(t, "app", layerOf(t, "a", noise(100_000)))
	m := newManager(t, nil)
	env, err := m.Pull(t.Context(), name, nil)
	check(t, err)
	hidden := func(t *testing.T) { flip(t, env.Path, 50_000) } // only reading it all tells
	tests := map[string]struct {
		damage func(t *testing.T)
		atUse  bool // seen by Acquire
	}{
		"flipped byte": {hidden, false},
		"written to":   {func(t *testing.T) { hidden(t); now := time.Now(); check(t, os.Chtimes(env.Path, now, now)) }, true},
		"cut": {func(t *testing.T) {
			check(t, os.Chmod(env.Path, 0o600))
			check(t, os.Truncate(env.Path, 4096))
		}, true},
		"deleted": {func(t *testing.T) { check(t, os.Remove(env.Path)) }, true},
		"no meta": {func(t *testing.T) { check(t, os.Remove(filepath.Join(filepath.Dir(env.Path), metaFile))) }, true},
		"broken meta": {func(t *testing.T) {
			check(t, os.WriteFile(filepath.Join(filepath.Dir(env.Path), metaFile), []byte("{"), 0o600))
		}, true},
		"broken record": {func(t *testing.T) { check(t, os.WriteFile(m.cache.record(env.Name, "amd64"), []byte("{}"), 0o600)) }, true},
		"flipped image and blob": {func(t *testing.T) {
			hidden(t)
			files, err := os.ReadDir(m.cache.blobs())
			check(t, err)
			flip(t, filepath.Join(m.cache.blobs(), files[0].Name()), 3000)
		}, false},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			tt.damage(t)
			img, err := m.Acquire(t.Context(), name)
			if err == nil {
				img.Release()
			}
			if tt.atUse {
				wantKind(t, err, api.KindVerification, "pyro env pull docker://")
			} else {
				check(t, err)
			}
			_, err = m.Inspect(t.Context(), name, true)
			wantKind(t, err, api.KindVerification)
			_, err = m.Pull(t.Context(), name, nil)
			check(t, err)
			again, err := m.Inspect(t.Context(), name, true)
			check(t, err)
			if !again.Verified || again.Digest != env.Digest {
				t.Errorf("after repair: %+v", again)
			}
			img, err = m.Acquire(t.Context(), name)
			check(t, err)
			img.Release()
		})
	}
}

// A copied cache has new times; that alone is no damage.
func TestNewTimesAreNoDamage(t *testing.T) {
	reg := serveImages(t)
	name := reg.add(t, "app", layerOf(t, "a", "1"))
	m := newManager(t, nil)
	env, err := m.Pull(t.Context(), name, nil)
	check(t, err)
	now := time.Now()
	check(t, os.Chtimes(env.Path, now, now))
	img, err := m.Acquire(t.Context(), name)
	check(t, err)
	img.Release()
}

func TestAcquireErrors(t *testing.T) {
	m := newManager(t, nil)
	_, err := m.Acquire(t.Context(), "debian:12")
	wantKind(t, err, api.KindNotInstalled, "debian:12 is not installed", "pyro env pull debian:12")
	_, err = m.Acquire(t.Context(), "docker://ghcr.io/a/b")
	wantKind(t, err, api.KindNotInstalled, "pyro env pull docker://ghcr.io/a/b:latest")
	_, err = m.Acquire(t.Context(), "debain:12")
	wantKind(t, err, api.KindNotFound, "did you mean debian:12?")
	_, err = m.Acquire(t.Context(), "ubuntu")
	wantKind(t, err, api.KindNotFound, "hint: pyro env list")
	_, err = m.Acquire(t.Context(), "ghcr.io/a/b:1")
	wantKind(t, err, api.KindNotFound, "pyro env pull docker://ghcr.io/a/b:1")
	_, err = m.AcquireDigest(t.Context(), "sha256:../../x")
	wantKind(t, err, api.KindUsage)
	_, err = m.AcquireDigest(t.Context(), "sha256:"+strings.Repeat("ab", 32))
	wantKind(t, err, api.KindNotFound)
}

func TestPullIsCanceled(t *testing.T) {
	reg := serveImages(t)
	reg.gate = make(chan struct{})
	t.Cleanup(func() { close(reg.gate) })
	name := reg.add(t, "app", layerOf(t, "a", "1"))
	m := newManager(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := m.Pull(ctx, name, func(p api.Progress) {
		if p.Phase == phaseResolve {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
	})
	wantKind(t, err, api.KindCanceled)
	emptyTmp(t, m)
	if _, err := m.Acquire(t.Context(), name); api.KindOf(err) != api.KindNotInstalled {
		t.Errorf("after a canceled pull: %v", err)
	}
}

// On a full disk the pull says what it needs and leaves nothing half-made.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=70m"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	reg := serveImages(t)
	m := newManager(t, func(o *Options) { o.CacheDir = filepath.Join(disk, "cache") })
	// Its blob and its spool fit, its image does not.
	name := reg.add(t, "app", layerOf(t, "a", noise(30<<20)))
	_, err := m.Pull(t.Context(), name, nil)
	wantKind(t, err, api.KindStorage, m.cache.dir, "MiB", "pyro env prune")
	if _, err := m.Acquire(t.Context(), name); api.KindOf(err) != api.KindNotInstalled {
		t.Errorf("after a failed pull: %v", err)
	}
	emptyTmp(t, m)

	// What cannot fit at all is refused before anything is fetched.
	name = reg.add(t, "big", layerOf(t, "a", noise(90<<20)))
	before := reg.gets()
	_, err = m.Pull(t.Context(), name, nil)
	wantKind(t, err, api.KindStorage, "needs about")
	if reg.gets() != before {
		t.Error("the layer was fetched although it cannot fit")
	}
}
