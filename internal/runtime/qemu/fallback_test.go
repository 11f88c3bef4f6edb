package qemu

import (
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
	"pyro/internal/runtime"
	"pyro/internal/runtime/machines"
)

// TestLostBetween: an agent that has let go of its serial port, but could not be
// met over vsock, is not waited for without end.
func TestLostBetween(t *testing.T) { synctest.Test(t, testLostBetween) } // its waits take no time

func testLostBetween(t *testing.T) {
	host, guest := net.Pipe()
	go listenAndFallSilent(guest)
	agent, err := wire.NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	m := &machine{
		Life:   machines.NewLife("vm-1"),
		driver: &Driver{log: slog.New(slog.DiscardHandler), sockets: brokenVsock{}},
		agent:  agent,
	}
	err = m.tryVsock(t.Context(), firstCID)
	if err == nil || !strings.Contains(err.Error(), "no route") || !strings.Contains(err.Error(), "nor over its serial port") {
		t.Errorf("the machine is lost, and the error says %v", err)
	}
	if m.Mode() != api.GuestSerial {
		t.Errorf("the machine says %s", m.Mode())
	}
}

// listenAndFallSilent is an agent that answers its first call alone.
func listenAndFallSilent(conn net.Conn) {
	out, in := frame.NewWriter(conn), frame.NewReader(conn)
	_ = out.WriteJSON(wire.FrameHello, wire.Hello{Protocol: wire.Protocol})
	for answered := false; ; answered = true {
		_, payload, err := in.Next()
		if err != nil {
			return
		}
		var call wire.Call
		if json.Unmarshal(payload, &call) == nil && !answered {
			_ = out.WriteJSON(wire.FrameReply, wire.Reply{ID: call.ID, Result: []byte("{}")})
		}
	}
}

// TestUplinkProgramLater: what kept the program from being opened once does not
// keep later machines from their networks.
func TestUplinkProgramLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pyro")
	d, err := New(Options{Dir: t.TempDir(), Executable: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.carrierOptions(runtime.Spec{ID: "vm-1"}); api.KindOf(err) != api.KindStorage {
		t.Errorf("without a program: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := d.carrierOptions(runtime.Spec{ID: "vm-1"})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := d.carrierOptions(runtime.Spec{ID: "vm-2"}); err != nil || second.Executable != first.Executable {
		t.Errorf("it is opened again: %s, %s, %v", first.Executable, second.Executable, err)
	}
}
