package pyro_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pyro/api"
)

// patience is how long retry and its like wait for something that must happen.
// It only bounds how long a test takes to fail.
const patience = 60 * time.Second

// patienceOf is patience for what runs in a guest, which may be emulated.
func patienceOf(ts *testscript.TestScript) time.Duration {
	if ts.Getenv("PYRO_RUNTIME") == string(api.RuntimeVM) {
		return 10 * patience
	}
	return patience
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are those of the package comment.
func (h *harness) commands() map[string]command {
	all := map[string]command{
		"environment": func(ts *testscript.TestScript, neg bool, args []string) {
			need(ts, neg, len(args) == 1, "environment NAME")
			ts.Check(h.install(args[0]))
		},
		"exits":               exits,
		"json":                checkJSON,
		"retry":               retry,
		"kill9daemon":         kill9daemon,
		"daemon-memory-below": daemonMemoryBelow,
		"no-sandboxes":        noSandboxes,
		"memory-is-private":   memoryIsPrivate,
		"listen":              listen,
		"registry":            memoryRegistry,
		"docker-registry":     dockerRegistry,
		"oci-push":            ociPush,
		"break-blobs":         breakBlobs,
		"unreached":           unreached,
		"older-disks":         olderDisks,
	}
	maps.Copy(all, workspaceCommands())
	return all
}

// need ends the script if a command is not used as its synopsis says.
func need(ts *testscript.TestScript, neg, ok bool, synopsis string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", synopsis)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "exits CODE PROGRAM ARG...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func retry(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: [!] retry PROGRAM ARG...")
	}
	end := time.Now().Add(patienceOf(ts))
	for {
		err := ts.Exec(args[0], args[1:]...)
		if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
			ts.Check(err)
		}
		if (err != nil) == neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("not within %s; last: %v", patienceOf(ts), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: [!] json FILE PATH [VALUE]")
	}
	doc, err := oneDocument(ts.ReadFile(args[0]))
	if err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	got, ok := lookup(doc, args[1])
	if ok && len(args) == 3 {
		ok = got == args[2]
		if pattern, isRegexp := strings.CutPrefix(args[2], "~"); isRegexp {
			ok, err = regexp.MatchString(pattern, got)
			ts.Check(err)
		}
	}
	if ok == neg {
		ts.Fatalf("%s: %s is %q in:\n%s", args[0], args[1], got, ts.ReadFile(args[0]))
	}
}

// oneDocument parses text that must be one JSON document and nothing else.
func oneDocument(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("no JSON document: %w\n%s", err, text)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more than one JSON document:\n%s", text)
	}
	return doc, nil
}

// lookup follows a path of keys and indexes. It returns a string as it is and
// anything else as JSON.
func lookup(doc any, path string) (string, bool) {
	for key := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			child, ok := v[key]
			if !ok {
				return "", false
			}
			doc = child
		case []any:
			if key == "len" {
				doc = len(v)
				continue
			}
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return "", false
			}
			doc = v[i]
		default:
			return "", false
		}
	}
	if s, ok := doc.(string); ok {
		return s, true
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(doc)
	return strings.TrimSuffix(text.String(), "\n"), err == nil
}

// daemonPID asks for the background process of the script; 0 if there is none.
func daemonPID(ts *testscript.TestScript) int {
	cmd := exec.Command(lookPath(ts, "pyro"), "daemon", "status", "--json")
	cmd.Env = scriptEnv(ts)
	out, err := cmd.Output()
	var info api.DaemonInfo
	if jsonErr := json.Unmarshal(out, &info); jsonErr != nil {
		ts.Fatalf("pyro daemon status --json: %v, %v\n%s", err, jsonErr, out)
	}
	if !info.Running {
		return 0
	}
	return info.PID
}

// lookPath finds a program on the script's PATH.
func lookPath(ts *testscript.TestScript, program string) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		if path := filepath.Join(dir, program); isProgram(path) {
			return path
		}
	}
	ts.Fatalf("%s is not on the PATH", program)
	return ""
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// scriptEnv is the part of the script's environment that pyro reads.
func scriptEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range append(slices.Clone(passedOn), "PATH", "HOME", "TMPDIR", "PYRO_STATE_DIR", "PYRO_CONFIG_DIR", "PYRO_CACHE_DIR") {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func kill9daemon(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "kill9daemon")
	pid := daemonPID(ts)
	if pid == 0 {
		ts.Fatalf("no background process is running")
	}
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	end := time.Now().Add(patience)
	for alive(pid) {
		if time.Now().After(end) {
			ts.Fatalf("process %d is still there", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// alive reports whether a process runs; a dead one that nobody has waited for
// does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// pid (name) state ...; the name may hold anything.
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
	return !bytes.HasPrefix(rest, []byte("Z")) && !bytes.HasPrefix(rest, []byte("X"))
}

func daemonMemoryBelow(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "daemon-memory-below MIB")
	limit, err := strconv.Atoi(args[0])
	ts.Check(err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", daemonPID(ts)))
	ts.Check(err)
	m := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(status)
	if m == nil {
		ts.Fatalf("no VmHWM in:\n%s", status)
	}
	kib, err := strconv.Atoi(string(m[1]))
	ts.Check(err)
	ts.Logf("the background process used up to %d MiB", kib>>10)
	if kib>>10 >= limit {
		ts.Fatalf("the background process used up to %d MiB, allowed are %d", kib>>10, limit)
	}
}

func noSandboxes(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "no-sandboxes")
	dir := scriptOf(ts).dir
	end := time.Now().Add(patience)
	for {
		daemon := daemonPID(ts)
		left := slices.DeleteFunc(processes(dir), func(p process) bool { return p.pid == daemon })
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("still there: %v", left)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// memoryIsPrivate checks that the memory of a guest, a memfd on the host, is
// open in one process beside the background process: the guest's own sandbox.
func memoryIsPrivate(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "memory-is-private")
	daemon := daemonPID(ts)
	holders := map[uint64][]process{} // by inode
	for _, p := range processes(scriptOf(ts).dir) {
		if p.pid == daemon {
			continue
		}
		for inode := range guestMemory(p.pid) {
			holders[inode] = append(holders[inode], p)
		}
	}
	if len(holders) == 0 {
		ts.Fatalf("no process holds the memory of a guest")
	}
	for _, ps := range holders {
		if len(ps) > 1 {
			ts.Fatalf("the memory of one guest is open in %d processes: %v", len(ps), ps)
		}
	}
}

// guestMemory returns the inodes of the memory files that a process has open.
func guestMemory(pid int) map[uint64]bool {
	found := map[uint64]bool{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		var st syscall.Stat_t
		if err == nil && strings.HasPrefix(target, "/memfd:runsc-memory") && syscall.Stat(fd, &st) == nil {
			found[st.Ino] = true
		}
	}
	return found
}

// listener counts who connects.
type listener struct {
	net.Listener
	connections atomic.Int32
}

func listen(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "listen NAME")
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ln := &listener{Listener: inner}
	ts.Defer(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			ln.connections.Add(1)
			conn.Close()
		}
	}()
	scriptOf(ts).listeners[args[0]] = ln
	_, port, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

func unreached(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "unreached NAME")
	ln := scriptOf(ts).listeners[args[0]]
	if ln == nil {
		ts.Fatalf("no listener has the name %s", args[0])
	}
	if n := ln.connections.Load(); n != 0 {
		ts.Fatalf("%d connections have reached the listener", n)
	}
}
