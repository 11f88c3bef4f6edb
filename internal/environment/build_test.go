package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
)

// archive is a packageBuilder: a tiny archive whose packages are one file each.
type archive struct {
	version map[string]string // of packages that are not at version 1
	builds  []string          // what was built, packages and "on base"
}

var archiveDate = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func (a *archive) lock(names []string) (lock []api.Package) {
	for _, n := range names {
		v := a.version[n]
		if v == "" {
			v = "1"
		}
		lock = append(lock, api.Package{Name: n, Version: v, Arch: "all", SHA256: n + v})
	}
	return lock
}

func (a *archive) build(ctx context.Context, r buildRequest) (*buildResult, error) {
	r.report.begin(phaseResolve, "")
	what := strings.Join(r.packages, " ")
	for _, p := range r.baseLock {
		if !slices.Contains(a.lock(r.allPackages), p) {
			return nil, fmt.Errorf("%w: %s", errStaleBase, p.Name)
		}
	}
	t := r.base
	if t == nil {
		var err error
		if t, err = tree.New(r.spoolDir); err != nil {
			return nil, err
		}
	} else {
		what += " on base"
	}
	a.builds = append(a.builds, what)
	lock := a.lock(r.packages)
	for _, p := range lock {
		if err := t.PutFile("/pkg/"+p.Name, 0o644, archiveDate, []byte(p.Version)); err != nil {
			return nil, err
		}
	}
	upper, err := r.configure(ctx, t, []string{"/bin/sh", "/configure"}, []string{"A=b"}, nil)
	if err != nil {
		if r.base == nil {
			t.Close()
		}
		return nil, err
	}
	defer upper.Close()
	if err := t.ApplyTar(upper, tree.ApplyOptions{Name: "upper", Whiteouts: tree.WhiteoutsOverlay}); err != nil {
		return nil, err
	}
	all := slices.Concat(r.baseLock, lock)
	slices.SortFunc(all, comparePackages)
	return &buildResult{
		tree: t, modTime: archiveDate, packages: all, mirror: "http://mirror.test/debian",
		releases: []Release{{Suite: r.suites[0], SHA256: "00", Date: archiveDate}},
	}, nil
}

// fakeConfigure is a ConfigureFunc that makes one file.
func fakeConfigure(_ context.Context, r ConfigureRequest) (io.ReadCloser, error) {
	if _, err := os.Stat(r.Image); err != nil {
		return nil, err
	}
	fmt.Fprintln(r.Log, "Setting up everything ...")
	t, err := tree.New(filepath.Dir(r.Image))
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if err := t.PutFile("/etc/configured", 0o644, archiveDate, []byte(strings.Join(r.Argv, " "))); err != nil {
		return nil, err
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer pw.Close()
	return pr, t.WriteTar(pw, time.Time{}) // small enough for the pipe
}

func newArchiveManager(t *testing.T) (*Manager, *archive) {
	m := newManager(t, func(o *Options) { o.Configure = fakeConfigure })
	a := &archive{version: map[string]string{}}
	m.packages = a
	return m, a
}

func TestBuild(t *testing.T) {
	m, a := newArchiveManager(t)
	var seen phases
	env, err := m.Pull(t.Context(), "debian:12", seen.add)
	check(t, err)
	if diff := cmp.Diff([]string{"apt ca-certificates git"}, a.builds); diff != "" {
		t.Error(diff)
	}
	if !seen.has(phaseConfigure) || len(env.Packages) != 3 || env.Source != "http://mirror.test/debian" {
		t.Errorf("phases %v, environment %+v", seen.list, env)
	}
	want := []string{"/etc/configured=/bin/sh /configure", "/pkg/apt=1", "/pkg/ca-certificates=1", "/pkg/git=1"}
	if diff := cmp.Diff(want, contents(t, m, "debian:12")); diff != "" {
		t.Error(diff)
	}
	meta, err := m.Meta("debian:12")
	check(t, err)
	if meta.RecipeDigest == "" || len(meta.Releases) != 1 || !meta.ModTime.Equal(archiveDate) {
		t.Errorf("meta %+v", meta)
	}
	emptyTmp(t, m)
}

// An installed base is built upon, and gives the same image as building at once,
// unless the archive has moved on.
func TestBuildOnInstalledBase(t *testing.T) {
	whole, _ := newArchiveManager(t)
	want, err := whole.Pull(t.Context(), "debian:12-build", nil)
	check(t, err)

	m, a := newArchiveManager(t)
	for _, name := range []string{"debian:12-base", "debian:12", "debian:12-build"} {
		_, err := m.Pull(t.Context(), name, nil)
		check(t, err)
	}
	steps := []string{"apt", "ca-certificates git on base", "build-essential curl pkg-config python3 on base"}
	if diff := cmp.Diff(steps, a.builds); diff != "" {
		t.Error(diff)
	}
	got, err := m.Inspect(t.Context(), "debian:12-build", true)
	check(t, err)
	if got.Digest != want.Digest {
		t.Error("building on a base gave another image than building at once")
	}
	if diff := cmp.Diff(want.Packages, got.Packages); diff != "" {
		t.Errorf("packages (-at once +on base):\n%s", diff)
	}

	check(t, m.Remove(t.Context(), "debian:12"))
	a.version["apt"], a.builds = "2", nil
	_, err = m.Pull(t.Context(), "debian:12", nil)
	check(t, err)
	if diff := cmp.Diff([]string{"apt ca-certificates git"}, a.builds); diff != "" {
		t.Error("with an old base:", diff)
	}
	emptyTmp(t, m)
}

func TestBuildOnImage(t *testing.T) {
	reg := serveImages(t)
	ref := reg.add(t, "distro", layerOf(t, "base-file", "x"))
	m, a := newArchiveManager(t)
	writeEntry(t, m, "x.json", strings.NewReplacer("team/x", "x", "debian:12", ref).Replace(goodEntry))
	_, err := m.Pull(t.Context(), "x", nil)
	check(t, err)
	if diff := cmp.Diff([]string{"jq on base"}, a.builds); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/base-file=x", "/etc/configured=/bin/sh /configure", "/pkg/jq=1"}, contents(t, m, "x")); diff != "" {
		t.Error(diff)
	}
	meta, err := m.Meta("x")
	check(t, err)
	if meta.Config.User != "app" || meta.Source.Extends == "" {
		t.Errorf("meta %+v", meta)
	}
}

func TestBuildFailures(t *testing.T) {
	m, _ := newArchiveManager(t)
	m.configure = nil
	_, err := m.Pull(t.Context(), "debian:12", nil)
	wantKind(t, err, api.KindUnavailable, "debian:12", "pyro doctor")

	m.configure = func(_ context.Context, r ConfigureRequest) (io.ReadCloser, error) {
		fmt.Fprint(r.Log, "Setting up git ...\ndpkg: error\x1b[31m processing git\n\n")
		return nil, errors.New("exit status 1")
	}
	_, err = m.Pull(t.Context(), "debian:12", nil)
	wantKind(t, err, api.KindInternal, "debian:12", "exit status 1", "dpkg: error [31m processing git")
	emptyTmp(t, m)
	if _, err := m.Acquire(t.Context(), "debian:12"); api.KindOf(err) != api.KindNotInstalled {
		t.Errorf("after a failed build: %v", err)
	}
}

func TestScriptLogIsBounded(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	check(t, err)
	defer f.Close()
	var all strings.Builder
	l := &scriptLog{f: f, left: 10, also: &all}
	for range 3 {
		if n, err := l.Write([]byte("1234567")); n != 7 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	if data, err := os.ReadFile(f.Name()); err != nil || string(data) != "1234567123" {
		t.Errorf("log %q, %v", data, err)
	}
	if all.Len() != 21 {
		t.Errorf("%d bytes passed on", all.Len())
	}
}

// An entry with an image and a recipe is built when its registry does not answer.
func TestRegistryFirst(t *testing.T) {
	reg := serveImages(t)
	ref := reg.add(t, "app", layerOf(t, "from", "image"))
	m, a := newArchiveManager(t)
	for name, ref := range map[string]string{"there": ref, "gone": "docker://127.0.0.1:1/app"} {
		entry := strings.NewReplacer("team/x", name, `"recipe":{"extends":"debian:12",`, `"oci":{"reference":"`+ref+`"},"recipe":{`).Replace(goodEntry)
		writeEntry(t, m, name+".json", entry)
	}
	_, err := m.Pull(t.Context(), "there", nil)
	check(t, err)
	if len(a.builds) != 0 {
		t.Errorf("built %v although the registry has it", a.builds)
	}
	_, err = m.Pull(t.Context(), "gone", nil)
	check(t, err)
	if diff := cmp.Diff([]string{"jq"}, a.builds); diff != "" {
		t.Error(diff)
	}
}
