package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
	"pyro/internal/runtime"
)

func TestLastWords(t *testing.T) {
	for console, want := range map[string]string{
		"":                         "",
		"a\r\n\r\nb\n":             "a; b",
		"1\n2\n3\n4\n5\n6\n7\n8\n": "3; 4; 5; 6; 7; 8",
		"x\n[1.0] Kernel panic - not syncing: y\nmore\n":   "[1.0] Kernel panic - not syncing: y; more",
		"boot\npyro-agent: the machine has no disk root\n": "pyro-agent: the machine has no disk root",
		"\x1b[31mred\x00\x07\n":                            "[31mred",
	} {
		if got := lastWords(console); got != want {
			t.Errorf("%q: %q, want %q", console, got, want)
		}
	}
	if got := lastWords(strings.Repeat("x", 5000)); len(got) > maxLine+3 {
		t.Errorf("a line of %d bytes is shown", len(got))
	}
}

func TestGuestMemory(t *testing.T) {
	for _, asked := range []int64{64 << 20, 256 << 20, 1 << 30, 16 << 30} {
		got := guestMemory(asked)
		if over := got - asked; got%memoryGranule != 0 || over < kernelMemory || over > kernelMemory+asked/50+memoryGranule {
			t.Errorf("%d bytes: the machine has %d", asked, got)
		}
	}
}

// fakeQEMU answers commands on its end of a connection by the function.
func fakeQEMU(t *testing.T, answer func(command string) string) net.Conn {
	t.Helper()
	host, qemu := net.Pipe()
	t.Cleanup(func() { qemu.Close() })
	go func() {
		fmt.Fprintln(qemu, `{"QMP": {"version": {}, "capabilities": []}}`)
		dec := json.NewDecoder(qemu)
		for {
			var c struct {
				Execute string
				ID      int
			}
			if dec.Decode(&c) != nil {
				return
			}
			fmt.Fprintln(qemu, strings.ReplaceAll(answer(c.Execute), "ID", fmt.Sprint(c.ID)))
		}
	}()
	return host
}

func TestMonitor(t *testing.T) {
	events := make(chan string, 1)
	m, err := newMonitor(t.Context(), fakeQEMU(t, func(command string) string {
		switch command {
		case "query-status":
			return `{"event": "SHUTDOWN", "timestamp": {}}` + "\n" + `{"return": {"running": true, "status": "running"}, "id": ID}`
		case "query-blockstats":
			return `{"return": [{"stats": {"wr_operations": 3, "unmap_operations": 1}}, {"stats": {"wr_operations": 4}}], "id": ID}`
		case "ringbuf-read":
			return `{"return": "words", "id": ID}`
		case "qmp_capabilities":
			return `{"return": {}, "id": ID}`
		}
		return `{"error": {"class": "CommandNotFound", "desc": "no such command"}, "id": ID}`
	}), func(name string) { events <- name })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if running, err := m.running(t.Context()); err != nil || !running {
		t.Errorf("running: %v, %v", running, err)
	}
	if got := <-events; got != "SHUTDOWN" {
		t.Errorf("event %q", got)
	}
	if n, err := m.writes(t.Context()); err != nil || n != 8 {
		t.Errorf("writes: %d, %v", n, err)
	}
	if got := m.console(t.Context()); got != "words" {
		t.Errorf("console: %q", got)
	}
	if err := m.call(t.Context(), "other", nil, nil); err == nil || !strings.Contains(err.Error(), "no such command") {
		t.Errorf("unknown command: %v", err)
	}
}

// TestMonitorThatLies: garbage ends the connection, silence a call.
func TestMonitorThatLies(t *testing.T) {
	for _, answer := range []string{"nonsense", `{"id": ID`, strings.Repeat("x", maxMessage+1)} {
		if _, err := newMonitor(t.Context(), fakeQEMU(t, func(string) string { return answer }), func(string) {}); !errors.Is(err, errMonitor) {
			t.Errorf("%.20s: %v", answer, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := newMonitor(ctx, fakeQEMU(t, func(string) string { cancel(); return `{"id": 999, "return": 1}` }), func(string) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("silence: %v", err)
	}
}

// layers encodes frames as the agent sends them.
func layers(t testing.TB, send func(*frame.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	send(frame.NewWriter(&b))
	return b.Bytes()
}

func wholeDisk(t testing.TB) []byte {
	return layers(t, func(w *frame.Writer) {
		_ = w.WriteJSON(wire.FrameLayer, wire.Layer{Mount: "/"})
		_ = w.Write(wire.FrameBytes, []byte("head"))
		_ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: 1 << 20})
		_ = w.Write(wire.FrameBytes, []byte("tail"))
		_ = w.WriteJSON(wire.FrameLayer, wire.Layer{Mount: "/workspace"})
		_ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: 1024})
		_ = w.Write(wire.FrameEnd, nil)
	})
}

func TestReceive(t *testing.T) {
	r := &folderReceiver{dir: t.TempDir(), want: []string{"/", "/workspace"}, sizes: map[string]int64{}, most: 2 << 20}
	if err := receive(frame.NewReader(bytes.NewReader(wholeDisk(t))), r); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"/": 1<<20 + 8, "/workspace": 1024}, r.sizes); diff != "" {
		t.Error(diff)
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "root.tar"))
	if err != nil || len(b) != 1<<20+8 || string(b[:4]) != "head" || string(b[len(b)-4:]) != "tail" {
		t.Errorf("root.tar has %d bytes, %v", len(b), err)
	}
}

// TestReceiveLies: what an agent may not send ends the transfer.
func TestReceiveLies(t *testing.T) {
	begin := func(w *frame.Writer) { _ = w.WriteJSON(wire.FrameLayer, wire.Layer{Mount: "/"}) }
	for name, send := range map[string]func(*frame.Writer){
		"nothing":           func(*frame.Writer) {},
		"bytes of no layer": func(w *frame.Writer) { _ = w.Write(wire.FrameBytes, []byte("x")) },
		"another mount":     func(w *frame.Writer) { _ = w.WriteJSON(wire.FrameLayer, wire.Layer{Mount: "/../etc"}) },
		"a mount twice":     func(w *frame.Writer) { begin(w); begin(w) },
		"too many zeros":    func(w *frame.Writer) { begin(w); _ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: maxZeros + 1}) },
		"more than there is room for": func(w *frame.Writer) {
			begin(w)
			for range 3 {
				_ = w.Write(wire.FrameBytes, make([]byte, 1<<20-frameCost))
			}
			_ = w.Write(wire.FrameEnd, nil)
		},
		"more zeros than there is room for": func(w *frame.Writer) {
			begin(w)
			_ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: 1 << 20})
			_ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: 1<<20 + 1})
			_ = w.Write(wire.FrameEnd, nil)
		},
		"crumbs": func(w *frame.Writer) {
			begin(w)
			for range 512 {
				_ = w.Write(wire.FrameBytes, []byte("x"))
				_ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: 1})
			}
			_ = w.Write(wire.FrameEnd, nil)
		},
		"fewer than none": func(w *frame.Writer) { begin(w); _ = w.WriteJSON(wire.FrameZeros, wire.Zeros{Count: -1}) },
		"another frame":   func(w *frame.Writer) { begin(w); _ = w.Write(wire.FrameStdout, nil) },
		"no JSON":         func(w *frame.Writer) { _ = w.Write(wire.FrameLayer, []byte("{")) },
		"no end":          begin,
	} {
		r := &folderReceiver{dir: t.TempDir(), want: []string{"/"}, sizes: map[string]int64{}, most: 2 << 20}
		if err := receive(frame.NewReader(bytes.NewReader(layers(t, send))), r); err == nil {
			t.Errorf("%s: accepted", name)
		}
		_ = r.end()
		if entries, err := filepath.Glob(filepath.Join(r.dir, "*")); err != nil || len(entries) > 1 {
			t.Errorf("%s: wrote %v", name, entries)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(wholeDisk(f))
	f.Add([]byte{byte(wire.FrameEnd), 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		r := &folderReceiver{dir: dir, want: []string{"/", "/workspace"}, sizes: map[string]int64{}, most: 2 << 20}
		_ = receive(frame.NewReader(bytes.NewReader(b)), r)
		_ = r.end() // a size that no file can have fails here
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 2 {
			t.Errorf("wrote %v, %v", entries, err)
		}
	})
}

func FuzzParseDisk(f *testing.F) {
	f.Add([]byte(`{"format":1,"sizes":{"/":512,"/workspace":1024}}`))
	f.Add([]byte(`{"format":1,"sizes":{"/etc":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sizes, err := parseDisk(b)
		for mount, size := range sizes {
			if err != nil || size <= 0 || mount != runtime.RootMount && mount != runtime.WorkspaceMount {
				t.Errorf("%q: %d, %v", mount, size, err)
			}
		}
	})
}

func TestDamagedDisks(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"empty":        {},
		"not JSON":     {diskFileName: "{"},
		"format":       {diskFileName: `{"format":3,"sizes":{}}`},
		"no layer":     {diskFileName: `{"format":1,"sizes":{"/":512}}`},
		"cut layer":    {diskFileName: `{"format":1,"sizes":{"/":512}}`, "root.tar": "x"},
		"other mounts": {diskFileName: `{"format":1,"sizes":{"/../x":1}}`},
	} {
		dir := t.TempDir()
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := openDisk(dir); api.KindOf(err) != api.KindVerification {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestArguments: QEMU is hardened, and opens nothing by a name that could be
// another's.
func TestArguments(t *testing.T) {
	f := &files{}
	for _, name := range []string{"kernel", "initrd", "qmp", "agent", "root", "upper"} {
		f.add(name, nil)
	}
	f.disks = []diskFile{{"root", false}, {"upper", true}}
	r := record{Spec: runtime.Spec{ID: "vm-1", Image: "/x,readonly=off", VCPUs: 2, MemoryBytes: 1 << 30}}
	line := strings.Join(r.arguments(f, tcg, "quiet"), " ")
	for _, want := range []string{
		"-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-nodefaults", "-no-user-config",
		"-name vm-1", "-smp 2", "-cpu Haswell-noTSX", "filename=/dev/fdset/1,locking=off,read-only=on", "filename=/dev/fdset/2,locking=off,read-only=off",
		"fd=7,set=1", "fd=8,set=2", "-kernel /proc/self/fd/3",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
	if strings.Contains(line, r.Spec.Image) || strings.Contains(line, "-netdev") || strings.Contains(line, "virtio-net") {
		t.Errorf("too much is in %s", line)
	}
	f.add(linkFile, nil)
	line = strings.Join(r.arguments(f, tcg, "quiet"), " ")
	for _, want := range []string{"-netdev dgram,id=link-a,local.type=fd,local.str=9 ", "virtio-net-device,netdev=card,mac=02:70:79:72:6f:02,host_mtu=65520,", "ctrl_vq=off"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
}

// TestWithoutQEMU: the hint is a command.
func TestWithoutQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	d, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{d.Probe(t.Context()), d.Suits(t.Context())} {
		if e := api.AsError(err); e == nil || e.Kind != api.KindUnavailable || !strings.Contains(e.Message, "QEMU is not installed") || !strings.Contains(e.Hint, "qemu") {
			t.Errorf("%+v", e)
		}
	}
}
