package runtimetest

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/runtime"
)

var commandTests = map[string]func(*testing.T, *world){
	"ExitCodes":        testExitCodes,
	"ExecFailures":     testExecFailures,
	"Environment":      testEnvironment,
	"WorkingDirectory": testWorkingDirectory,
	"ManyAtOnce":       testManyAtOnce,
	"Arguments":        testArguments,
}

func testExitCodes(t *testing.T, w *world) {
	m := w.machine(t)
	for _, tc := range []struct {
		script string
		want   runtime.Exit
	}{
		{"exit 0", runtime.Exit{}},
		{"exit 7", runtime.Exit{Code: 7}},
		{"exit 255", runtime.Exit{Code: 255}},
		{"command-that-is-nowhere", runtime.Exit{Code: 127}},
		{"kill -KILL $$", runtime.Exit{Code: 137, Signal: 9}},
		{"kill -TERM $$", runtime.Exit{Code: 143, Signal: 15}},
	} {
		if d := cmp.Diff(tc.want, sh(t, m, tc.script).Exit); d != "" {
			t.Errorf("%s: %s", tc.script, d)
		}
	}
}

func testExecFailures(t *testing.T, w *world) {
	m := w.machine(t)
	sh(t, m, "touch plain; printf '#!/no/interpreter\n' >script; chmod +x script")
	for _, tc := range []struct {
		cmd  runtime.Command
		want int
	}{
		{runtime.Command{Argv: []string{"command-that-is-nowhere"}}, api.ExitNotFound},
		{runtime.Command{Argv: []string{"/no/such/file"}}, api.ExitNotFound},
		{runtime.Command{Argv: []string{"./nothing"}}, api.ExitNotFound},
		{runtime.Command{Argv: []string{""}}, api.ExitNotFound},
		{runtime.Command{Argv: []string{"./plain"}}, api.ExitNotExecutable},
		{runtime.Command{Argv: []string{"/etc/passwd"}}, api.ExitNotExecutable},
		{runtime.Command{Argv: []string{"/etc"}}, api.ExitNotExecutable},
		{runtime.Command{Argv: []string{"./script"}}, api.ExitNotFound},
		{runtime.Command{Argv: []string{"true"}, Dir: "/no/such/folder"}, api.ExitNotExecutable},
	} {
		p, err := m.Start(t.Context(), tc.cmd)
		if err == nil {
			exit, err := p.Wait()
			t.Errorf("%q in %q started; it ended with %+v, %v", tc.cmd.Argv, tc.cmd.Dir, exit, err)
			continue
		}
		if got := runtime.ExecExitCode(err); api.KindOf(err) != api.KindExec || got != tc.want {
			t.Errorf("%q in %q: kind %q, exit code %d, want %d: %v", tc.cmd.Argv, tc.cmd.Dir, api.KindOf(err), got, tc.want, err)
		}
	}
	if got := sh(t, m, "echo well").stdout; got != "well\n" {
		t.Errorf("afterwards the machine answers %q", got)
	}
}

func testEnvironment(t *testing.T, w *world) {
	t.Setenv("PYRO_SUITE_SECRET", "leaked")
	spec := w.spec()
	spec.Env = append(spec.Env, "FROM_MACHINE=one", "BOTH=machine")
	m := w.create(t, spec)
	out := run(t, m, runtime.Command{Argv: []string{"env", "-0"}, Env: []string{"BOTH=command", "ODD=a \"b\"\n$c"}}).stdout
	got := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		got[key] = value
	}
	for key, want := range map[string]string{"FROM_MACHINE": "one", "BOTH": "command", "ODD": "a \"b\"\n$c"} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	for _, key := range []string{"PATH", "HOME"} {
		if got[key] == "" {
			t.Errorf("%s is not set", key)
		}
	}
	if strings.Contains(out, "leaked") {
		t.Errorf("the host's environment is visible: %q", out)
	}
}

func testWorkingDirectory(t *testing.T, w *world) {
	m := w.machine(t)
	sh(t, m, "mkdir sub && touch here sub/below")
	for _, tc := range []struct{ dir, script, want string }{
		{"", "ls", "here\nsub\n"},
		{"/workspace", "ls", "here\nsub\n"},
		{"/workspace/sub", "ls", "below\n"},
		{"/", "pwd", "/\n"},
	} {
		got := run(t, m, runtime.Command{Argv: []string{"sh", "-c", tc.script}, Dir: tc.dir})
		if got.stdout != tc.want {
			t.Errorf("%s in %q: %q, want %q (stderr %q)", tc.script, tc.dir, got.stdout, tc.want, got.stderr)
		}
	}
	if w.driver.Features().Isolated {
		if got := sh(t, m, "pwd").stdout; got != "/workspace\n" {
			t.Errorf("pwd says %q", got)
		}
	}
}

func testArguments(t *testing.T, w *world) {
	m := w.machine(t)
	args := []string{"", "a b", "$HOME", "'", "\"", "\n", "ü€", "-n", strings.Repeat("x", 100_000)}
	got := run(t, m, runtime.Command{Argv: append([]string{"printf", "%s|"}, args...)})
	if want := strings.Join(args, "|") + "|"; got.stdout != want {
		t.Errorf("arguments arrived as %.200q, stderr %q", got.stdout, got.stderr)
	}
}

func testManyAtOnce(t *testing.T, w *world) {
	m := w.machine(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			var out, stderr strings.Builder
			p, err := m.Start(t.Context(), runtime.Command{
				Argv: []string{"sh", "-c", "read x; echo $x; exit $x"}, Stdin: strings.NewReader(strings.Repeat("1", i%2) + "0\n"), Stdout: &out, Stderr: &stderr,
			})
			if err != nil {
				t.Errorf("start: %v", err)
				return
			}
			exit, err := p.Wait()
			want := map[bool]string{true: "10\n", false: "0\n"}[i%2 == 1]
			if err != nil || out.String() != want || exit.Code != 10*(i%2) {
				t.Errorf("command %d: %q, %q, %+v, %v", i, out.String(), stderr.String(), exit, err)
			}
		})
	}
	wg.Wait()
}
