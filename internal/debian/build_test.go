package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/tree"
)

// smallArchive has a base system of three packages and one more on top.
func smallArchive(t *testing.T) *archive {
	a := newArchive(t)
	a.add("bookworm", pkg{
		name: "base-files", version: "12.4", fields: "Essential: yes\nPriority: required\nArchitecture: amd64\n",
		control: map[string]string{"conffiles": "/etc/issue\n", "preinst": "#!/bin/sh\n", "postinst": "#!/bin/sh\ndpkg-maintscript-helper rm_conffile /etc/x 1.0~ -- \"$@\"\necho hello\n"},
		data:    []tar.Header{dir(""), dir("/etc"), file("/etc/issue", 0o644), file("/etc/unwanted", 0o644), dir("/lib"), file("/lib/os", 0o755)},
		files:   map[string]string{"./etc/issue": "Debian\n", "./lib/os": "12", "./etc/unwanted": "x"},
	})
	a.add("bookworm", pkg{
		name: "libc6", version: "2.36-9", fields: "Priority: required\nArchitecture: amd64\nMulti-Arch: same\nProvides: libc (= 2.36)\n",
		control:     map[string]string{"triggers": "interest-noawait ldconfig\ninterest /usr/share/things # comment\nactivate-noawait x\n"},
		data:        []tar.Header{dir(""), dir("/lib"), file("/lib/libc.so", 0o755), {Name: "./lib/libc.so.6", Typeflag: tar.TypeSymlink, Linkname: "libc.so"}},
		files:       map[string]string{"./lib/libc.so": strings.Repeat("c", 300<<10)},
		compression: ".zst",
	})
	a.add("bookworm", pkg{
		name: "base-passwd", version: "3.6", fields: "Priority: required\nArchitecture: all\n", control: map[string]string{"preinst": "#!/bin/sh\n"},
		data:  []tar.Header{dir(""), dir("/usr"), dir("/usr/bin"), file("/usr/bin/su", 0o4755), {Name: "./usr/bin/su2", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su"}},
		files: map[string]string{"./usr/bin/su": "su"}, compression: ".none",
	})
	a.add("bookworm", pkg{
		name: "tool", version: "1.0", fields: "Depends: libc6 (>= 2.30), libc (>= 2.36), missing | helper\n",
		data:  []tar.Header{dir(""), dir("/usr"), dir("/usr/share"), dir("/usr/share/things"), file("/usr/share/things/t", 0o644)},
		files: map[string]string{"./usr/share/things/t": "t"}, compression: ".gz",
	})
	a.add("bookworm", pkg{name: "helper", version: "2", fields: "Architecture: all\n", data: []tar.Header{dir("")}})
	a.publish("bookworm")
	return a
}

func TestBuild(t *testing.T) {
	a := smallArchive(t)
	o := a.options("tool")
	var mu sync.Mutex
	last := map[Phase][2]int64{}
	o.Progress = func(p Phase, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		last[p] = [2]int64{done, total}
	}
	r := mustBuild(t, o)
	if !r.ModTime.Equal(archiveDate) {
		t.Errorf("ModTime is %v", r.ModTime)
	}
	var names []string
	for _, l := range r.Lock {
		names = append(names, l.Name+"="+l.Version+" "+l.Arch)
		if !validSHA256(l.SHA256) {
			t.Errorf("%s has the digest %q", l.Name, l.SHA256)
		}
	}
	want := []string{"base-files=12.4 amd64", "base-passwd=3.6 all", "helper=2 all", "libc6=2.36-9 amd64", "tool=1.0 amd64"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	inRelease := a.get("/debian/dists/bookworm/InRelease")
	if len(r.Releases) != 1 || r.Releases[0].SHA256 != sha(inRelease) || r.Releases[0].Name != "bookworm" {
		t.Errorf("releases are %+v", r.Releases)
	}
	for p, n := range map[Phase]int64{PhaseUnpack: 5, PhaseConfigure: 5, PhaseMerge: 1} {
		if last[p] != [2]int64{n, n} {
			t.Errorf("the last progress of %s was %v", p, last[p])
		}
	}
	if l := last[PhaseDownload]; l[0] != l[1] || l[0] == 0 {
		t.Errorf("the last progress of the download was %v", l)
	}
	checkSmallTree(t, r.Tree)
}

func checkSmallTree(t *testing.T, tr *tree.Tree) {
	t.Helper()
	for path, want := range map[string]string{
		"/etc/issue":                             "Debian\n",
		"/usr/lib/os":                            "12",
		"/usr/bin/su2":                           "su",
		"/usr/share/things/t":                    "t",
		"/var/lib/dpkg/info/format":              "1\n",
		"/var/lib/dpkg/arch":                     "amd64\n",
		"/var/lib/dpkg/triggers/File":            "/usr/share/things libc6:amd64\n",
		"/var/lib/dpkg/triggers/ldconfig":        "libc6:amd64/noawait\n",
		"/var/lib/dpkg/info/libc6:amd64.list":    "/.\n/lib\n/lib/libc.so\n/lib/libc.so.6\n",
		"/var/lib/dpkg/info/base-files.postinst": "#!/bin/sh\ndpkg-maintscript-helper rm_conffile /etc/x 1.0~ -- \"$@\"\necho hello\n",
	} {
		if got := readTree(t, tr, path); got != want {
			t.Errorf("%s is %q", path, got)
		}
	}
	for _, path := range []string{"/.pyro", "/usr/sbin/policy-rc.d", "/run/lock", "/etc/unwanted", "/var/log/dpkg.log", "/var/lib/dpkg/status-old"} {
		if _, err := tr.Lookup(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n, err := tr.Lookup("/lib"); err != nil || n.Type != tree.Symlink || n.Target != "usr/lib" {
		t.Errorf("/lib is %+v, %v", n, err)
	}
	if n, err := tr.Lookup("/usr/bin/su"); err != nil || n.Mode != 0o4755 || n.ModTime.Year() != 2024 {
		t.Errorf("/usr/bin/su is %+v, %v", n, err)
	}
	status := readTree(t, tr, "/var/lib/dpkg/status")
	want := fmt.Sprintf("Package: base-files\nStatus: install ok installed\nVersion: 12.4\nEssential: yes\nPriority: required\nArchitecture: amd64\n"+
		"Conffiles:\n /etc/issue %x\n\n", md5.Sum([]byte("Debian\n")))
	if !strings.HasPrefix(status, want) {
		t.Errorf("status begins with %q", status[:min(len(status), 300)])
	}
	if n := strings.Count(status, "Status: install ok installed\n"); n != 5 {
		t.Errorf("%d packages are installed", n)
	}
	tr.Walk(func(path string, n *tree.Node) error {
		if n.ModTime.After(archiveDate) {
			t.Errorf("%s is of %v", path, n.ModTime)
		}
		return nil
	})
}

func TestBuildIsReproducible(t *testing.T) {
	a := smallArchive(t)
	diffTrees(t, mustBuild(t, a.options("tool")).Tree, mustBuild(t, a.options("tool")).Tree)
}

func TestBuildOnBase(t *testing.T) {
	a := smallArchive(t)
	base := mustBuild(t, a.options())
	o := a.options("tool")
	o.Base = base.Tree
	unincorp := ""
	o.Configure = func(ctx context.Context, job Job) (io.ReadCloser, error) {
		unincorp = readTree(t, job.Tree, "/var/lib/dpkg/triggers/Unincorp")
		return fakeDpkg(ctx, job)
	}
	r := mustBuild(t, o)
	if len(r.Lock) != 2 || r.Lock[0].Name != "helper" || r.Lock[1].Name != "tool" {
		t.Errorf("installed were %+v", r.Lock)
	}
	if unincorp != "/usr/share/things -\n" {
		t.Errorf("activated were %q", unincorp)
	}
	// The sandbox empties the file; the stand-in for it does not.
	if err := r.Tree.PutFile("/var/lib/dpkg/triggers/Unincorp", 0o644, archiveDate, nil); err != nil {
		t.Fatal(err)
	}
	diffTrees(t, mustBuild(t, a.options("tool")).Tree, r.Tree)
}

func TestBuildOnStaleBase(t *testing.T) {
	a := smallArchive(t)
	base := mustBuild(t, a.options())
	a.add("bookworm", pkg{name: "libc6", version: "2.36-10", fields: "Priority: required\n"})
	a.add("bookworm", pkg{name: "newer", version: "1", fields: "Depends: libc6 (>= 2.36-10)\n"})
	a.publish("bookworm")
	o := a.options("newer")
	o.Base = base.Tree
	_, err := Build(t.Context(), o)
	stale, ok := errors.AsType[*StaleBaseError](err)
	if !ok || stale.Package != "libc6" || stale.Installed != "2.36-9" || stale.Available != "2.36-10" {
		t.Errorf("the error is %v", err)
	}
	if api.KindOf(err) != api.KindConflict || api.AsError(err).Hint == "" {
		t.Errorf("the error is of kind %s with the hint %q", api.KindOf(err), api.AsError(err).Hint)
	}
}

func TestBuildRefusesOtherBases(t *testing.T) {
	a := smallArchive(t)
	for name, status := range map[string]string{
		"none":            "",
		"half configured": "Package: x\nStatus: install ok half-configured\nVersion: 1\nArchitecture: amd64\n",
		"malformed":       "what is this\n",
	} {
		t.Run(name, func(t *testing.T) {
			base, err := tree.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			if status != "" {
				if err := base.PutFile(statusFile, 0o644, archiveDate, []byte(status)); err != nil {
					t.Fatal(err)
				}
			}
			o := a.options("tool")
			o.Base = base
			if _, err := Build(t.Context(), o); api.KindOf(err) != api.KindConflict {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestResolveOnly(t *testing.T) {
	a := smallArchive(t)
	plan, err := Resolve(t.Context(), a.options("tool"))
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Lock) != 5 || plan.Bytes == 0 || a.asks(".deb") != 0 {
		t.Errorf("the plan is %+v, %d .debs were asked for", plan, a.asks(".deb"))
	}
}

// TestCacheIsUsed builds twice from one cache.
func TestCacheIsUsed(t *testing.T) {
	a := smallArchive(t)
	o := a.options("tool")
	mustBuild(t, o)
	before := a.asks("")
	mustBuild(t, o)
	if n := a.asks("") - before; n != 1 {
		t.Errorf("%d files were fetched instead of InRelease alone", n)
	}
}

func TestDamagedBlobsAreRepaired(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"flipped byte": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o644)
		},
		"truncated": func(path string) error { return os.Truncate(path, 100) },
		"deleted":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			a := smallArchive(t)
			o := a.options("tool")
			whole := mustBuild(t, o)
			deb := a.get("/debian/pool/libc6_2.36-9.deb")
			index := compress(t, ".gz", []byte(strings.Join(a.packages["bookworm"], "\n")))
			for _, b := range [][]byte{deb, index} {
				if err := damage(blobPath(o, b)); err != nil {
					t.Fatal(err)
				}
			}
			diffTrees(t, whole.Tree, mustBuild(t, o).Tree)
			if b, err := os.ReadFile(blobPath(o, deb)); err != nil || !bytes.Equal(b, deb) {
				t.Errorf("the blob was not repaired: %v", err)
			}
		})
	}
}

func TestAlteredPackage(t *testing.T) {
	a := smallArchive(t)
	path := "/debian/pool/tool_1.0.deb"
	good := a.get(path)
	for name, bad := range map[string][]byte{
		"flipped":   append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1),
		"longer":    append(append([]byte{}, good...), 0),
		"truncated": good[:len(good)-1],
		"empty":     {},
	} {
		t.Run(name, func(t *testing.T) {
			a.put(path, bad)
			o := a.options("tool")
			_, err := Build(t.Context(), o)
			if api.KindOf(err) != api.KindVerification || !strings.Contains(err.Error(), "tool_1.0.deb") {
				t.Errorf("the error is %v", err)
			}
			if _, err := os.Stat(blobPath(o, good)); err == nil {
				t.Error("it is in the cache")
			}
		})
	}
}

func TestFirstFailureIsReported(t *testing.T) {
	a := smallArchive(t)
	a.put("/debian/pool/helper_2.deb", []byte("x"))
	_, err := Build(t.Context(), a.options("tool"))
	if api.KindOf(err) != api.KindVerification || !strings.Contains(err.Error(), "helper_2.deb") {
		t.Errorf("the error is %v", err)
	}
}

func TestFailedConfiguration(t *testing.T) {
	a := smallArchive(t)
	o := a.options("tool")
	boom := errors.New("boom")
	o.Configure = func(context.Context, Job) (io.ReadCloser, error) { return nil, boom }
	if _, err := Build(t.Context(), o); !errors.Is(err, boom) {
		t.Errorf("the error is %v", err)
	}
}

func TestCanceledBuild(t *testing.T) {
	a := smallArchive(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := a.options("tool")
	o.Progress = func(p Phase, _, _ int64) {
		if p == PhaseDownload {
			cancel()
		}
	}
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	a := smallArchive(t)
	for name, change := range map[string]func(*Options){
		"arch":      func(o *Options) { o.Arch = "mips" },
		"no suite":  func(o *Options) { o.Suites = nil },
		"suite":     func(o *Options) { o.Suites = []string{"../x"} },
		"package":   func(o *Options) { o.Packages = []string{"nothing"} },
		"configure": func(o *Options) { o.Configure = nil },
	} {
		t.Run(name, func(t *testing.T) {
			o := a.options("tool")
			change(&o)
			if _, err := Build(t.Context(), o); err == nil {
				t.Error("it built")
			}
		})
	}
}
