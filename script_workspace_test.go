package pyro_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"pyro/api"
)

// workspaceCommands are the commands of the package comment that only scripts
// about workspaces use.
func workspaceCommands() map[string]command {
	return map[string]command{
		"workspace":        newWorkspace,
		"let":              let,
		"guest":            guest,
		"fingerprint":      fingerprint,
		"saved":            saved,
		"kill9sandbox":     kill9sandbox,
		"flip-byte":        flipByte,
		"zstd":             compressZstd,
		"refuses-archives": refusesArchives,
		"example":          example,
	}
}

func newWorkspace(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "workspace NAME ENV ARG...")
	ts.Check(ts.Exec("pyro", append([]string{"workspace", "create", "--json"}, args[1:]...)...))
	let(ts, false, []string{args[0], "stdout", "workspace_id"})
}

// let makes a variable of a part of a JSON document, or of a whole text.
func let(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2 || len(args) == 3, "let NAME FILE [PATH]")
	if len(args) == 2 {
		ts.Setenv(args[0], strings.TrimSuffix(ts.ReadFile(args[1]), "\n"))
		return
	}
	doc, err := oneDocument(ts.ReadFile(args[1]))
	ts.Check(err)
	value, ok := lookup(doc, args[2])
	if !ok {
		ts.Fatalf("there is no %s in:\n%s", args[2], ts.ReadFile(args[1]))
	}
	ts.Setenv(args[0], value)
}

// guest runs a shell script of the test inside a workspace.
func guest(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] guest WORKSPACE FILE")
	}
	err := ts.Exec("pyro", "workspace", "exec", args[0], "--timeout-seconds", "600", "--", "sh", "-c", ts.ReadFile(args[1]))
	if (err != nil) != neg {
		ts.Fatalf("%s ended with: %v", args[1], err)
	}
}

// fingerprintScript prints a line for every file of a sandbox's disk, and the
// hashes of those that scripts change. Not compared are the sizes and link
// counts of folders, which no file system promises, the times of folders that
// the sandbox itself has mounts in, and fractions of a second, which a saved
// disk does not keep.
const fingerprintScript = `set -e; cd /; find / /workspace -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run/pyro \) -prune -o -printf '%y %m %U %G %n %s %T@ %l %p\0' |
perl -0ne 'chomp; s/^d (\S+ \S+ \S+) \S+ \S+ /d $1 /; s/(\d{9,}\.\d+)/sprintf "%.0f", $1/e; s/^(d.*) \d{9,} ( \/(run|workspace)?)$/$1 -$2/; s/\n/\\n/g; $l{$_} = 1; END { print map { "$_\n" } sort keys %l }'
find /workspace /etc /tmp /opt /usr/local -xdev -type f -print0 | sort -z | xargs -0 -r sha256sum`

func fingerprint(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "fingerprint WORKSPACE FILE")
	out := runPyro(ts, "workspace", "exec", args[0], "--timeout-seconds", "600", "--", "sh", "-c", fingerprintScript)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o600))
}

// runPyro returns the stdout of a command that must succeed, without showing it.
func runPyro(ts *testscript.TestScript, args ...string) []byte {
	cmd := exec.Command(lookPath(ts, "pyro"), args...)
	cmd.Env, cmd.Dir = scriptEnv(ts), ts.MkAbs(".")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		ts.Fatalf("pyro %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// saved waits until all that commands have written in a workspace is saved. Times
// are told in milliseconds: a save in that of the last command may or may not
// have seen its end, and if it has not, another one follows within seconds.
func saved(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "saved WORKSPACE")
	const another = 5 * time.Second
	begun := time.Now()
	for {
		var w api.Workspace
		ts.Check(json.Unmarshal(runPyro(ts, "workspace", "status", args[0], "--json"), &w))
		waited := time.Since(begun)
		if w.SavedAt.After(w.LastActivityAt) || w.SavedAt.Equal(w.LastActivityAt) && waited > another {
			return
		}
		if waited > patienceOf(ts) {
			ts.Fatalf("used last at %v, but saved at %v", w.LastActivityAt, w.SavedAt)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// isSandbox says whether a process is what a sandbox runs in.
func isSandbox(p process) bool {
	return strings.HasPrefix(p.args, "runsc-sandbox ") || strings.Contains(p.args, "qemu") && strings.Contains(p.args, "-machine microvm")
}

// kill9sandbox kills what runs a workspace's sandbox, as the kernel does when the
// host is out of memory.
func kill9sandbox(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1 && args[0] != "", "kill9sandbox WORKSPACE")
	daemon := daemonPID(ts)
	victims := slices.DeleteFunc(processes(scriptOf(ts).dir), func(p process) bool {
		return p.pid == daemon || !isSandbox(p) || !strings.Contains(p.args, args[0])
	})
	if len(victims) == 0 {
		ts.Fatalf("workspace %s has no sandbox", args[0])
	}
	for _, p := range victims {
		ts.Check(syscall.Kill(p.pid, syscall.SIGKILL))
	}
	end := time.Now().Add(patience)
	for _, p := range victims {
		for alive(p.pid) {
			if time.Now().After(end) {
				ts.Fatalf("still there: %v", p)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// flipByte damages one file: a byte in its middle gets another value.
func flipByte(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "flip-byte PATTERN")
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(paths) != 1 {
		ts.Fatalf("%d files match %s: %v", len(paths), args[0], paths)
	}
	content, err := os.ReadFile(paths[0])
	ts.Check(err)
	content[len(content)/2] ^= 0xff
	ts.Check(os.WriteFile(paths[0], content, 0o600))
}

// compressZstd makes FILE.zst of FILE; tar can only do that where zstd is installed.
func compressZstd(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "zstd FILE")
	enc, err := zstd.NewWriter(nil)
	ts.Check(err)
	defer enc.Close()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".zst"), enc.EncodeAll([]byte(ts.ReadFile(args[0])), nil), 0o600))
}

// hostileArchives are tars whose last entry, or what it says, must be refused.
var hostileArchives = map[string][]tar.Header{
	"absolute":         {{Name: "/tmp/victim", Typeflag: tar.TypeReg, Mode: 0o644}},
	"parent":           {{Name: "dir/../../victim", Typeflag: tar.TypeReg, Mode: 0o644}},
	"link-absolute":    {{Name: "victim", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
	"link-parent":      {{Name: "dir/victim", Typeflag: tar.TypeSymlink, Linkname: "../../etc/passwd"}},
	"link-through":     {{Name: "dir", Typeflag: tar.TypeSymlink, Linkname: "."}, {Name: "dir/victim", Typeflag: tar.TypeReg, Mode: 0o644}},
	"hard-link":        {{Name: "victim", Typeflag: tar.TypeLink, Linkname: "etc/passwd"}},
	"hard-link-parent": {{Name: "victim", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
	"character-device": {{Name: "victim", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 5}},
	"block-device":     {{Name: "victim", Typeflag: tar.TypeBlock, Mode: 0o666, Devmajor: 8}},
	"fifo":             {{Name: "victim", Typeflag: tar.TypeFifo, Mode: 0o644}},
	"setuid":           {{Name: "victim", Typeflag: tar.TypeReg, Mode: 0o4755}},
	"setgid":           {{Name: "victim", Typeflag: tar.TypeReg, Mode: 0o2755}},
	"type-change":      {{Name: "victim", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "victim", Typeflag: tar.TypeSymlink, Linkname: "good"}},
	"below-file":       {{Name: "victim", Typeflag: tar.TypeReg, Mode: 0o644}, {Name: "victim/file", Typeflag: tar.TypeReg, Mode: 0o644}},
	"size":             {{Name: "victim", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1 << 40}},
}

// refusesArchives runs a program with each hostile archive in the place of {}.
// It must refuse it, and say which entry it is about.
func refusesArchives(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2 && slices.Contains(args, "{}"), "refuses-archives PROGRAM ARG... with {} for an archive")
	for name, entries := range hostileArchives {
		path := ts.MkAbs(name + ".tar")
		ts.Check(os.WriteFile(path, hostileArchive(entries), 0o600))
		line := slices.Clone(args[1:])
		line[slices.Index(line, "{}")] = path
		exits(ts, false, slices.Concat([]string{"125", args[0]}, line))
		checkJSON(ts, false, []string{"stdout", "error.kind", "unsafe_content"})
		checkJSON(ts, false, []string{"stdout", "error.message", "~" + regexp.QuoteMeta(path) + ".*victim"})
	}
}

// hostileArchive writes a harmless entry and then others as they are, without
// the data that they declare.
func hostileArchive(entries []tar.Header) []byte {
	var out bytes.Buffer
	const content = "good\n"
	for _, h := range slices.Concat([]tar.Header{{Name: "good", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}}, entries) {
		w := tar.NewWriter(&out)
		if err := w.WriteHeader(&h); err != nil {
			panic(fmt.Sprintf("%s: %v", h.Name, err))
		}
		if h.Name == "good" {
			fmt.Fprint(w, content)
		}
		_ = w.Flush() // fails if data is missing, which is meant
	}
	return append(out.Bytes(), make([]byte, 1024)...)
}

// example runs the script of one of the examples for users.
func example(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 1, "example NAME ARG...")
	path, err := filepath.Abs(filepath.Join("examples", args[0], "walkthrough.sh"))
	ts.Check(err)
	ts.Check(ts.Exec("sh", append([]string{path}, args[1:]...)...))
}
