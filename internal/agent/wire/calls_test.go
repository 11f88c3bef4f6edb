package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pyro/internal/frame"
)

func TestValidName(t *testing.T) {
	for _, good := range []string{"a", "7", "web", "Web-1.2_x", strings.Repeat("a", 64)} {
		if !ValidName(good) {
			t.Errorf("%q was refused", good)
		}
	}
	for _, bad := range []string{"", ".", "..", "-a", "_a", "a/b", "a b", "a\x00", "ä", "a\n", strings.Repeat("a", 65)} {
		if ValidName(bad) {
			t.Errorf("%q was allowed", bad)
		}
	}
}

// TestKindsOfErrors: what the guest says of an error is checked.
func TestKindsOfErrors(t *testing.T) {
	for said, want := range map[Kind]Kind{KindConflict: KindConflict, KindExec: KindExec, "": "", "sandbox_died": KindInternal, "x": KindInternal} {
		p, c := dial(t)
		go func() { p.say(FrameReply, Reply{ID: p.hear().ID, Error: "no", Kind: said}) }()
		_, err := c.ServiceStatus(t.Context(), "web")
		var got Kind
		if e, ok := errors.AsType[*Error](err); ok {
			got = e.Kind
		}
		if err == nil || got != want {
			t.Errorf("said %q: error %v of kind %q, want %q", said, err, got, want)
		}
	}
}

// TestMuchInputIsCut: in pieces that a frame can carry, in order.
func TestMuchInputIsCut(t *testing.T) {
	p, c := dial(t)
	input := []byte(strings.Repeat("0123456789", MaxData/4))
	var got []byte
	go func() {
		for len(got) < len(input) {
			call := p.hear()
			var params ShellWriteParams
			if err := json.Unmarshal(call.Params, &params); err != nil || params.ID != "s" || len(params.Data) > MaxData || len(params.Data) == 0 {
				t.Errorf("%d bytes for %q: %v", len(params.Data), params.ID, err)
				p.conn.Close()
				return
			}
			got = append(got, params.Data...)
			b, _ := json.Marshal(ShellWriteResult{Written: len(params.Data)})
			p.say(FrameReply, Reply{ID: call.ID, Result: b})
		}
	}()
	r, err := c.WriteShell(t.Context(), ShellWriteParams{ID: "s", Data: input})
	if err != nil || r.Full || r.Written != len(input) || string(got) != string(input) {
		t.Errorf("result %+v, %v; %d bytes arrived of %d", r, err, len(got), len(input))
	}
}

// TestInputStopsWhenFull: and a guest that lies about it changes no count.
func TestInputStopsWhenFull(t *testing.T) {
	p, c := dial(t)
	go func() {
		p.say(FrameReply, Reply{ID: p.hear().ID, Result: json.RawMessage(`{"written":99999999}`)})
		p.say(FrameReply, Reply{ID: p.hear().ID, Result: json.RawMessage(`{"written":-5,"full":true}`)})
	}()
	r, err := c.WriteShell(t.Context(), ShellWriteParams{ID: "s", Data: make([]byte, 3*MaxData)})
	if err != nil || !r.Full || r.Written != MaxData {
		t.Errorf("result %+v, %v", r, err)
	}
}

// TestLargestPageFits: a full answer fits into a frame.
func TestLargestPageFits(t *testing.T) {
	records := make([]LogRecord, 2000)
	for i := range records {
		records[i] = LogRecord{Stream: "stdout", AtMS: 1 << 45, Data: make([]byte, MaxData/len(records))}
	}
	for _, v := range []any{
		ServiceLogsResult{Cursor: 1 << 60, NextCursor: 1 << 60, Dropped: 1 << 60, Records: records, State: ServiceRunning, CursorEnd: 1 << 60},
		ShellReadResult{Data: make([]byte, MaxData)},
		ShellWriteParams{ID: strings.Repeat("a", 64), Data: make([]byte, MaxData)},
	} {
		if b, err := json.Marshal(v); err != nil || len(b) > frame.MaxPayload-2048 {
			t.Errorf("%T has %d bytes, %v", v, len(b), err)
		}
	}
}
