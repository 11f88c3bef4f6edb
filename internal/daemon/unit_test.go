package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pyro/api"
	"pyro/internal/environment"
	"pyro/internal/runtime"
	"pyro/internal/runtime/host"
)

func TestLogRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.log")
	l, err := openLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	record := []byte(strings.Repeat("x", 39) + "\n")
	for range 7 {
		if _, err := l.Write(record); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{path: 40, path + ".1": 80} {
		if b := readFile(t, name); len(b) != want || !strings.HasSuffix(b, "x\n") {
			t.Errorf("%s has %d bytes, want %d", filepath.Base(name), len(b), want)
		}
	}
	// A record that is larger than the limit is written all the same.
	if n, err := l.Write(bytes.Repeat(record, 10)); n != 400 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// stuck is a driver whose probe does not keep to its deadline.
type stuck struct{ runtime.Driver }

func (stuck) Name() string { return "stuck" }

func (stuck) Probe(context.Context) error { select {} }

func TestProbeDeadline(t *testing.T) {
	if got := probe(t.Context(), "stuck", stuck{}.Probe, 10*time.Millisecond); got.OK || !strings.Contains(got.Reason, "10ms") || got.Hint == "" {
		t.Errorf("%+v", got)
	}
}

// offline is a driver whose machines run, and get no network.
type offline struct{ runtime.Driver }

func (offline) Name() string                { return "offline" }
func (offline) Probe(context.Context) error { return nil }
func (offline) ProbeNetwork(context.Context) error {
	return api.Errorf(api.KindUnavailable, "no link").WithHint("mend it")
}

func TestExamineWithoutNetwork(t *testing.T) {
	s := &server{log: slog.New(slog.DiscardHandler)}
	check, network := s.examine(t.Context(), offline{})
	if !check.OK || network || !strings.Contains(check.Reason, "no link") || check.Hint != "mend it" {
		t.Errorf("%+v, network %v", check, network)
	}
}

// exporting makes the host driver's machines export a layer, for configure.
type exporting struct{ *host.Driver }

type exportingMachine struct{ runtime.Machine }

func (d exporting) Create(ctx context.Context, spec runtime.Spec) (runtime.Machine, error) {
	m, err := d.Driver.Create(ctx, spec)
	return exportingMachine{m}, err
}

func (exportingMachine) ExportLayer(_ context.Context, w io.Writer) error {
	_, err := w.Write(bytes.Repeat([]byte("layer"), 100_000))
	return err
}

func TestConfigurer(t *testing.T) {
	dir := t.TempDir()
	d, err := host.New(host.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	configure := configurer(exporting{d})
	for _, tc := range []struct {
		name   string
		script string
		ok     bool
		want   string // in the log
	}{
		{"works", "pwd; echo in; sleep 0.2; echo $NAME >&2", true, "/\nin\nvalue\n"},
		{"fails", "echo broken; exit 3", false, "broken\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			upper, err := configure(t.Context(), environment.ConfigureRequest{Argv: []string{"sh", "-c", tc.script}, Env: []string{"NAME=value"}, Log: &log})
			if (err == nil) != tc.ok || log.String() != tc.want {
				t.Errorf("log %q, %v", log.String(), err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "exit code 3") {
					t.Error(err)
				}
			} else {
				io.CopyN(io.Discard, upper, 10) // a reader that stops early
				if err := upper.Close(); err != nil {
					t.Error(err)
				}
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("machines are left: %v, %v", entries, err)
			}
		})
	}
}

func TestConfigurerCanceled(t *testing.T) {
	d, err := host.New(host.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	_, err = configurer(exporting{d})(ctx, environment.ConfigureRequest{Argv: []string{"sh", "-c", "echo; sleep 1000"}, Log: log})
	if api.KindOf(err) != api.KindCanceled {
		t.Errorf("got %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
