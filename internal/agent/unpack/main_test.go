package unpack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asProgram makes the test program be "pyro-agent unpack".
const asProgram = "UNPACK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// program is one run as a process of its own.
type program struct {
	*exec.Cmd
	in  io.WriteCloser
	out bytes.Buffer
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stdout = &p.out
	var err error
	p.in, err = p.StdinPipe()
	must(t, err)
	must(t, p.Start())
	return p
}

// end waits for the program and returns its exit code and document.
func (p *program) end(t *testing.T) (int, Document) {
	t.Helper()
	_ = p.Wait()
	var doc Document
	if p.out.Len() > 0 {
		must(t, json.Unmarshal(p.out.Bytes(), &doc))
	}
	return p.ProcessState.ExitCode(), doc
}

func TestProgram(t *testing.T) {
	root := t.TempDir()
	p := start(t, "--root", root, "--dest", "src")
	_, err := p.in.Write(stream(t, "d/", "d/f=one"))
	must(t, err)
	code, doc := p.end(t)
	want := Document{Answer: &Answer{Files: 1, Folders: 1, Bytes: 3}}
	if diff := cmp.Diff(want, doc); code != 0 || diff != "" {
		t.Errorf("exit code %d, document (-want +got):\n%s", code, diff)
	}
	if want := `{"files":1,"folders":1,"links":0,"bytes":3,"replaced":0}` + "\n"; p.out.String() != want {
		t.Errorf("stdout is %q, want %q", &p.out, want)
	}
}

func TestProgramUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"--dest", "x"}, {"--root", "/", "more"}, {"--what"}} {
		p := start(t, args...)
		if code, _ := p.end(t); code != exitUsage || p.out.Len() > 0 {
			t.Errorf("%q: exit code %d, stdout %q", args, code, &p.out)
		}
	}
}

// untilStaged waits until the program has written the file name.
func untilStaged(t *testing.T, root, name string) {
	t.Helper()
	for t.Context().Err() == nil {
		if found, _ := filepath.Glob(filepath.Join(root, stagePrefix+"*", newName, name)); len(found) > 0 {
			return
		}
	}
}

// TestSignals: those that ask to end are heard before the commit word.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		root := t.TempDir()
		plant(t, root, "f=1")
		before := everything(t, root)
		p := start(t, "--root", root)
		_, err := p.in.Write(archive(t, "f=2", "g=2"))
		must(t, err)
		untilStaged(t, root, "g")
		must(t, p.Process.Signal(sig))
		code, doc := p.end(t)
		if doc.Error == nil || doc.Error.Kind != Canceled || code != exitFailed {
			t.Errorf("%v: exit code %d, stdout %q", sig, code, &p.out)
		}
		if diff := cmp.Diff(before, everything(t, root)); diff != "" {
			t.Errorf("%v: the tree has changed (-before +after):\n%s", sig, diff)
		}
	}
}

// TestHostGoesAway: without the commit word that is an end; with it, the push is
// finished although nobody takes the answer and signals come.
func TestHostGoesAway(t *testing.T) {
	root := t.TempDir()
	p := start(t, "--root", root)
	_, err := p.in.Write(archive(t, "f=1"))
	must(t, err)
	p.in.Close()
	if code, doc := p.end(t); code != exitFailed || doc.Error == nil || doc.Error.Kind != Canceled {
		t.Errorf("before the commit word: exit code %d, stdout %q", code, &p.out)
	}

	r, w, err := os.Pipe()
	must(t, err)
	r.Close()
	var entries []string
	for i := range 300 {
		plant(t, root, fmt.Sprintf("f%d=1", i))
		entries = append(entries, fmt.Sprintf("f%d=2", i))
	}
	p = &program{Cmd: exec.Command(os.Args[0], "--root", root)}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stdout = w
	p.Stdin = bytes.NewReader(stream(t, entries...))
	must(t, p.Start())
	w.Close()
	must(t, p.Wait())
	for i, e := range names(t, root) {
		if e[len(e)-2:] != "=2" {
			t.Fatalf("entry %d is %s", i, e)
		}
	}
}

// TestKilled: SIGKILL leaves a staging folder, the tree as it was, and nothing
// after the next run.
func TestKilled(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "f=1")
	p := start(t, "--root", root)
	_, err := p.in.Write(archive(t, "f=2", "d/g=2"))
	must(t, err)
	untilStaged(t, root, "d/g")
	must(t, p.Process.Kill())
	_ = p.Wait()
	if b, err := os.ReadFile(filepath.Join(root, "f")); err != nil || string(b) != "1" {
		t.Errorf("f is %q, %v", b, err)
	}
	p = start(t, "--root", root)
	_, err = p.in.Write(stream(t, "h=3"))
	must(t, err)
	if code, _ := p.end(t); code != 0 {
		t.Errorf("exit code %d, stdout %q", code, &p.out)
	}
	if diff := cmp.Diff([]string{"f=1", "h=3"}, names(t, root)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}
