package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/tree"
)

func TestNoHelpers(t *testing.T) {
	for in, want := range map[string]string{
		"a\ndpkg-maintscript-helper rm_conffile /etc/apt/x.gpg 2017.5\\~\\~ -- \"$@\"\nb\n":                 "a\n:\nb\n",
		"dpkg-maintscript-helper symlink_to_dir /usr/share/doc/perl-base perl 5.30.0-1 perl-base -- \"$@\"": ":",
		"\tdpkg-maintscript-helper dir_to_symlink /a ../b 1 -- \"$@\" || true":                              ":",
		"dpkg-maintscript-helper supports rm_conffile && x":                                                 "dpkg-maintscript-helper supports rm_conffile && x",
		"dpkg-maintscript-helper rm_conffile /a 1 -- \"$@\" && b":                                           "dpkg-maintscript-helper rm_conffile /a 1 -- \"$@\" && b",
		"dpkg-maintscript-helper rm_conffile $(x) 1 -- \"$@\"":                                              "dpkg-maintscript-helper rm_conffile $(x) 1 -- \"$@\"",
		"echo dpkg-maintscript-helper rm_conffile /a 1 -- \"$@\"":                                           "echo dpkg-maintscript-helper rm_conffile /a 1 -- \"$@\"",
	} {
		if got := noHelpers.ReplaceAllString(in, ":"); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestTimedPython(t *testing.T) {
	for in, want := range map[string]string{
		"#!/bin/sh\nset -e\npy3compile -p x\n":  "#!/bin/sh\nunset SOURCE_DATE_EPOCH\nset -e\npy3compile -p x\n",
		"#! /bin/sh -e\npython3 py_compile.py":  "#! /bin/sh -e\nunset SOURCE_DATE_EPOCH\npython3 py_compile.py",
		"#!/bin/sh\necho x\n":                   "#!/bin/sh\necho x\n",
		"#!/usr/bin/python3\nimport py_compile": "#!/usr/bin/python3\nimport py_compile",
	} {
		if got := timedPython(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestApplyEdits(t *testing.T) {
	edits := []edit{{"a", "b"}, {"c", "d"}}
	for in, want := range map[string]string{"a c": "b d", "a": "a", "a a c": "a a c", "": ""} {
		if got := apply(in, edits); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// TestCertificateStandIn runs the original add function of
// update-ca-certificates and the one that stands in for it.
func TestCertificateStandIn(t *testing.T) {
	for _, tool := range []string{"sh", "perl", "sed", "basename", "readlink"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	script := `set -e
ETCCERTSDIR=$1 ADDED=$2 TEMPBUNDLE=$1/bundle
` + caUpdate[0].old + `
pyro_add_all() { :; }
for c in "$3"/*; do add "$c"; done
pyro_add_all
`
	shorter := strings.Replace(strings.Replace(script, "pyro_add_all() { :; }\n", "", 1), caUpdate[0].old, caUpdate[0].new, 1)
	certs := t.TempDir()
	for name, text := range map[string]string{
		"Plain.crt": "plain\n", "No_Newline.crt": "no newline", "With space (and), more.crt": "x\n\ny\n", "Empty.crt": "",
		"Two.crt.crt": "two\n", "Főtanúsítvány.crt": "utf-8\n", "no-suffix": "none\n", "There.crt": "there\n", "Other.crt": "other\n", "File.crt": "f\n",
	} {
		if err := os.WriteFile(filepath.Join(certs, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(script string) map[string]string {
		t.Helper()
		dir := t.TempDir()
		for link, target := range map[string]string{"There.pem": filepath.Join(certs, "There.crt"), "Other.pem": "/elsewhere", "No_Newline.pem": filepath.Join(certs, "Plain.crt")} {
			if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "File.pem"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		added := filepath.Join(t.TempDir(), "added")
		if out, err := exec.Command("sh", "-c", script, "sh", dir, added, certs).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		log, err := os.ReadFile(added)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{"added": strings.ReplaceAll(string(log), dir, "DIR")}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if target, err := os.Readlink(path); err == nil {
				got[e.Name()] = "-> " + target
			} else if b, err := os.ReadFile(path); err == nil {
				got[e.Name()] = string(b)
			}
		}
		return got
	}
	want, got := run(script), run(shorter)
	if len(want) < 10 {
		t.Fatalf("the original did too little: %v", want)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStageRestores(t *testing.T) {
	tr, err := tree.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.PutFile("/usr/bin/ischroot", 0o4755, archiveDate, []byte("binary")); err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("/usr/sbin", &tree.Node{Type: tree.Dir, Mode: 0o755}, nil); err != nil {
		t.Fatal(err)
	}
	before := describeTree(t, tr)
	node, err := tr.Lookup("/usr/bin/ischroot")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{tree: tr, mtime: archiveDate}
	script := "#!/bin/sh\ndpkg-maintscript-helper rm_conffile /a 1 -- \"$@\"\n"
	u := &unpacked{pkg: &Package{Name: "p", Arch: "amd64"}, control: map[string]controlFile{"postinst": {0o755, []byte(script)}}}
	if err := s.prepare([]*unpacked{u}, nil, false); err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, tr, "/usr/bin/ischroot"); !strings.HasPrefix(got, "#!/bin/sh") {
		t.Errorf("the stand-in is %q", got)
	}
	if got := readTree(t, tr, "/var/lib/dpkg/info/p.postinst"); got != "#!/bin/sh\n:\n" {
		t.Errorf("the script is %q", got)
	}
	for path, want := range map[string]bool{"/.pyro": true, "/.pyro/log": true, "/usr/bin/ischroot": true, "/.pyrox": false, "/usr/bin": false} {
		if s.standsIn(path) != want {
			t.Errorf("standsIn(%s) is %v", path, !want)
		}
	}
	if err := s.restore(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Remove("/var"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, describeTree(t, tr)); d != "" {
		t.Error(d)
	}
	if n, _ := tr.Lookup("/usr/bin/ischroot"); n != node {
		t.Error("it is another file")
	}
}

// TestConfigureScript runs the script with a dpkg that fails.
func TestConfigureScript(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	dir := t.TempDir()
	pkgs := []*unpacked{
		{pkg: &Package{Name: "a", Arch: "amd64", MultiArch: "same"}, control: map[string]controlFile{"preinst": {}}},
		{pkg: &Package{Name: "base-passwd", Arch: "all"}, control: map[string]controlFile{"preinst": {}}},
		{pkg: &Package{Name: "dpkg", Version: "1.21.22; reboot", Arch: "all"}, control: map[string]controlFile{}},
	}
	script := configureScript(pkgs, dpkgVersion(pkgs, nil))
	if !strings.Contains(script, "preinst base-passwd all base-passwd\npreinst a amd64 a:amd64\n") {
		t.Errorf("the preinst scripts are run in another order:\n%s", script)
	}
	if strings.Contains(script, ";reboot") || strings.Contains(script, "; reboot") {
		t.Errorf("a version became a command:\n%s", script)
	}
	for name, text := range map[string]string{
		"info/base-passwd.preinst": `echo "base $1 $DPKG_MAINTSCRIPT_PACKAGE $DPKG_RUNNING_VERSION"`,
		"info/a:amd64.preinst":     `echo "a $1 $DPKG_MAINTSCRIPT_PACKAGE $DPKG_MAINTSCRIPT_ARCH"`,
		"dpkg":                     `echo status: x: installed >&3; echo "dpkg $*"; exit $FAIL`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!"+sh+"\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script = strings.NewReplacer("/.pyro/", dir+"/", "/var/lib/dpkg/info/", dir+"/info/", "\ndpkg ", "\n"+dir+"/dpkg ").Replace(script)
	for _, fail := range []string{"0", "3"} {
		os.Remove(filepath.Join(dir, "log"))
		cmd := exec.Command(sh, "-c", script)
		cmd.Env = append(os.Environ(), "FAIL="+fail)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if string(out) != "status: x: installed\n" {
			t.Errorf("the output is %q", out)
		}
		log := "base install base-passwd 1.21.22reboot\na install a amd64\ndpkg --force-unsafe-io --status-fd 3 --configure -a\n"
		if fail == "0" && (err != nil || stderr.String() != "") {
			t.Errorf("%v: %s", err, stderr.String())
		}
		if fail != "0" && (err == nil || stderr.String() != "dpkg --configure failed; the end of its log:\n"+log) {
			t.Errorf("%v: %s", err, stderr.String())
		}
	}
}

func TestStatusCounter(t *testing.T) {
	var got []int
	c := &statusCounter{seen: map[string]bool{}, tell: func(n int) { got = append(got, n) }}
	for _, s := range []string{"status: a: half-con", "figured\nstatus: a: installed\nstatus: a:", " installed\nprocessing: x\nstatus: b:amd64: installed\n"} {
		c.Write([]byte(s))
	}
	if d := cmp.Diff([]int{1, 2}, got); d != "" {
		t.Error(d)
	}
}
