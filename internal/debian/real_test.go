package debian

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pyro/internal/erofs"
	"pyro/internal/tree"
)

// The sets of packages that the catalogue's environments are made of.
var realSets = map[string][]string{
	"base":  {"apt"},
	"git":   {"apt", "git", "ca-certificates"},
	"build": {"apt", "git", "ca-certificates", "build-essential", "pkg-config", "python3", "curl"},
}

// realRelease is the code name to build from the machine's mirror.
func realRelease() string {
	if name := os.Getenv("PYRO_TEST_DEBIAN_RELEASE"); name != "" {
		return name
	}
	return "bookworm"
}

// needReal skips unless builds from a real archive are wanted, and returns the
// command that is gVisor's runsc.
func needReal(t *testing.T) []string {
	t.Helper()
	if os.Getenv("PYRO_TEST_DEBIAN_BUILD") == "" {
		t.Skip("needs PYRO_TEST_DEBIAN_BUILD=1: it builds root file systems from the machine's Debian mirror, for a minute or more")
	}
	runsc := strings.Fields(os.Getenv("PYRO_TEST_RUNSC"))
	if len(runsc) == 0 {
		t.Skip("needs PYRO_TEST_RUNSC: the command that is gVisor's runsc, statically linked")
	}
	return runsc
}

// realOptions are those of a build of a set with an empty cache.
func realOptions(t *testing.T, set string, runsc []string) Options {
	t.Helper()
	mirrors, err := FindMirrors(os.DirFS("/"), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	r := realRelease()
	return Options{
		Mirrors: mirrors, Suites: []string{r, r + "-updates", r + "-security"}, Arch: "amd64", Packages: realSets[set],
		Blobs: blobDir(t.TempDir()), SpoolDir: t.TempDir(), Configure: runscConfigure(t, runsc),
	}
}

// blobDir is a flat folder of blobs.
type blobDir string

func (d blobDir) Path(sha256 string) string { return filepath.Join(string(d), sha256) }

// laps prints how long each phase took.
func laps(t *testing.T, o *Options) {
	start, last := time.Now(), Phase("")
	var mu sync.Mutex
	o.Progress = func(p Phase, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if p != last || done == total {
			t.Logf("%7.2fs %-9s %d of %d", time.Since(start).Seconds(), p, done, total)
		}
		last = p
	}
}

func TestRealBuild(t *testing.T) {
	runsc := needReal(t)
	for _, set := range []string{"base", "git", "build"} {
		t.Run(set, func(t *testing.T) {
			o := realOptions(t, set, runsc)
			laps(t, &o)
			start := time.Now()
			r, err := Build(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Tree.Close()
			built := time.Since(start)
			sum := imageSum(t, r)
			t.Logf("%s: %d packages, built in %.2fs, with the image %.2fs, sha256 %s", set, len(r.Lock), built.Seconds(), time.Since(start).Seconds(), sum)
			if dir := os.Getenv("PYRO_TEST_DEBIAN_KEEP"); dir != "" {
				keepTar(t, r, filepath.Join(dir, "go-"+set+".tar"))
			}
		})
	}
}

// TestRealTricks compares an honest configuration with the shortened one.
func TestRealTricks(t *testing.T) {
	runsc := needReal(t)
	for _, set := range []string{"base", "git", "build"} {
		t.Run(set, func(t *testing.T) {
			o := realOptions(t, set, runsc)
			a := mustBuild(t, o)
			o.plain = true
			b := mustBuild(t, o)
			diffTrees(t, b.Tree, a.Tree)
		})
	}
}

// TestRealChain builds git on base and build on git, and compares with builds
// from nothing.
func TestRealChain(t *testing.T) {
	runsc := needReal(t)
	o := realOptions(t, "base", runsc)
	step := mustBuild(t, o)
	for _, set := range []string{"git", "build"} {
		o.Packages, o.Base = realSets[set], nil
		whole := mustBuild(t, o)
		o.Base = step.Tree
		start := time.Now()
		step = mustBuild(t, o)
		t.Logf("%s on top: %.2fs", set, time.Since(start).Seconds())
		diffTrees(t, whole.Tree, step.Tree)
	}
}

func mustBuild(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if o.Base == nil {
		t.Cleanup(func() { r.Tree.Close() })
	}
	return r
}

func imageSum(t *testing.T, r *Result) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := newSum()
	if _, err := erofs.Write(io.MultiWriter(f, sum), r.Tree, erofs.WriteOptions{ModTime: r.ModTime}); err != nil {
		t.Fatal(err)
	}
	return sum.String()
}

func keepTar(t *testing.T, r *Result, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := r.Tree.WriteTar(w, r.ModTime); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// runscConfigure runs jobs in plain runsc.
func runscConfigure(t *testing.T, runsc []string) Configure {
	return func(ctx context.Context, job Job) (io.ReadCloser, error) {
		dir := t.TempDir()
		image := filepath.Join(dir, "stage.erofs")
		f, err := os.Create(image)
		if err != nil {
			return nil, err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		if _, err := erofs.Write(w, job.Tree, erofs.WriteOptions{}); err != nil {
			return nil, err
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Join(dir, "bundle", "rootfs"), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "bundle", "config.json"), runscSpec(image, job), 0o644); err != nil {
			return nil, err
		}
		run := func(args ...string) *exec.Cmd {
			base := append(runsc[1:len(runsc):len(runsc)], "--root="+filepath.Join(dir, "root"), "--platform=systrap", "--network=none", "--ignore-cgroups")
			return exec.CommandContext(ctx, runsc[0], append(base, args...)...)
		}
		const id = "configure"
		defer exec.Command("umount", filepath.Join(dir, "root", "null-netns")).Run()
		defer run("delete", "--force", id).Run()
		sandbox := run("run", "--bundle", filepath.Join(dir, "bundle"), id)
		out, err := sandbox.StdoutPipe()
		if err != nil {
			return nil, err
		}
		var stderr bytes.Buffer
		sandbox.Stderr = &stderr
		if err := sandbox.Start(); err != nil {
			return nil, err
		}
		status := ""
		lines := bufio.NewScanner(out)
		for status == "" && lines.Scan() {
			status, _ = strings.CutPrefix(lines.Text(), "exit status ")
			if status == lines.Text() {
				status = ""
				fmt.Fprintln(job.Output, lines.Text())
			}
		}
		upper := filepath.Join(dir, "upper.tar")
		tarOut, tarErr := []byte(nil), error(nil)
		if status == "0" {
			tarOut, tarErr = run("tar", "rootfs-upper", "--file", upper, id).CombinedOutput()
		}
		run("kill", id, "KILL").Run()
		sandbox.Wait()
		if status != "0" || tarErr != nil {
			return nil, fmt.Errorf("status %q: %s %s (%w)", status, stderr.String(), tarOut, cmp.Or(tarErr, errors.New("no error of tar")))
		}
		return os.Open(upper)
	}
}

// runscSpec is an OCI runtime configuration.
func runscSpec(image string, job Job) []byte {
	type m = map[string]any
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SYS_CHROOT", "CAP_MKNOD"}
	var namespaces []m
	for _, ns := range []string{"pid", "network", "ipc", "uts", "mount"} {
		namespaces = append(namespaces, m{"type": ns})
	}
	args := append([]string{"/bin/sh", "-c", `"$@" </dev/null; echo exit status $?; exec sleep 600`, "sh"}, job.Args...)
	b, err := json.Marshal(m{
		"ociVersion": "1.0.0",
		"process": m{
			"user": m{"uid": 0, "gid": 0}, "cwd": "/", "args": args, "env": job.Env,
			"capabilities": m{"bounding": caps, "effective": caps, "inheritable": caps, "permitted": caps},
		},
		"root":     m{"path": "rootfs"},
		"hostname": "pyro-build",
		"mounts":   []m{{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}},
		"linux":    m{"namespaces": namespaces},
		"annotations": map[string]string{
			"dev.gvisor.spec.rootfs.source": image, "dev.gvisor.spec.rootfs.type": "erofs", "dev.gvisor.spec.rootfs.overlay": "memory",
		},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// diffTrees reports every path that differs.
func diffTrees(t *testing.T, want, got *tree.Tree) {
	t.Helper()
	a, b := describeTree(t, want), describeTree(t, got)
	n := 0
	for path, x := range a {
		if y, ok := b[path]; !ok || x != y {
			t.Errorf("%s:\n  want %s\n  got  %s", path, x, y)
			n++
		}
	}
	for path, y := range b {
		if _, ok := a[path]; !ok {
			t.Errorf("%s: unexpected: %s", path, y)
			n++
		}
	}
	t.Logf("%d paths compared, %d differ", len(a), n)
}

func describeTree(t *testing.T, tr *tree.Tree) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := tr.Walk(func(path string, n *tree.Node) error {
		sum := newSum()
		if _, err := io.Copy(sum, tr.Open(n)); err != nil {
			return err
		}
		out[path] = fmt.Sprintf("%s %04o %d:%d %s -> %q %d,%d %v %s", n.Type, n.Mode, n.UID, n.GID, n.ModTime.UTC().Format(time.RFC3339Nano), n.Target, n.Major, n.Minor, n.Xattrs, sum)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
