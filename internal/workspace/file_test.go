package workspace

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

// agentThat answers every call with what reply makes of it.
func agentThat(t *testing.T, reply func(wire.Call) wire.Reply) (*instance, *life) {
	t.Helper()
	host, guest := net.Pipe()
	t.Cleanup(func() { host.Close(); guest.Close() })
	go func() {
		in, out := frame.NewReader(guest), frame.NewWriter(guest)
		if out.WriteJSON(wire.FrameHello, wire.Hello{Protocol: wire.Protocol}) != nil {
			return
		}
		for {
			var c wire.Call
			_, b, err := in.Next()
			if err != nil || json.Unmarshal(b, &c) != nil {
				return
			}
			r := reply(c)
			r.ID = c.ID
			if out.WriteJSON(wire.FrameReply, r) != nil {
				return
			}
		}
	}()
	client, err := wire.NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	l := newLife(nil, nil, "", nil)
	l.guest.client = client
	return &instance{id: "ws-1"}, l
}

func result(v any) wire.Reply {
	b, _ := json.Marshal(v)
	return wire.Reply{Result: b}
}

// TestOlderAgent: an agent that has never heard of files is told apart from one
// that fails.
func TestOlderAgent(t *testing.T) {
	in, l := agentThat(t, func(c wire.Call) wire.Reply {
		return wire.Reply{Error: `method "` + string(c.Method) + `" is not known`}
	})
	err := in.knowsFiles(t.Context(), l)
	wantHint(t, err, api.KindUnsupported)
	if !strings.Contains(err.Error(), "older pyro") {
		t.Error(err)
	}
}

// TestHostileAgent: an agent in which the guest has put itself gives more than it
// was asked for, nothing at all, the same again and again, or bytes that are no
// text. Answers stay bounded and valid.
func TestHostileAgent(t *testing.T) {
	file := wire.File{Path: []byte("\xff/../../etc/passwd"), Type: "\xff", Size: -1, Mode: 0xffffffff, MTime: -1 << 62, Target: []byte("\xff")}
	for name, reply := range map[string]func(wire.Call) wire.Reply{
		"too much": func(c wire.Call) wire.Reply {
			if c.Method == wire.FileList {
				return result(wire.FileListResult{Files: make([]wire.File, 5000)})
			}
			return result(wire.FileReadResult{Data: make([]byte, 300_000)})
		},
		"nothing, for ever": func(c wire.Call) wire.Reply {
			if c.Method == wire.FileList {
				return result(wire.FileListResult{More: true})
			}
			return result(wire.FileReadResult{})
		},
		"odd": func(c wire.Call) wire.Reply {
			if c.Method == wire.FileList {
				return result(wire.FileListResult{Path: file.Path, Files: []wire.File{file, file, file}, More: true})
			}
			return result(wire.FileReadResult{File: file, Data: []byte{0, 0xff}, Lines: -5})
		},
		"errors": func(wire.Call) wire.Reply { return wire.Reply{Error: strings.Repeat("\xff", 5000), Kind: "not_found"} },
	} {
		t.Run(name, func(t *testing.T) {
			in, l := agentThat(t, reply)
			list, err := in.listFiles(t.Context(), l, api.ListFilesRequest{MaxEntries: 1000}, nil)
			if err == nil && len(list.Entries) > 1000 {
				t.Errorf("%d entries", len(list.Entries))
			}
			line := 2
			content, err := in.readFile(t.Context(), l, api.ReadFileRequest{MaxBytes: 20_000, MaxLines: 3, StartLine: &line})
			if err == nil && len(content.Content) > 20_000 {
				t.Errorf("%d bytes", len(content.Content))
			}
			for _, v := range []any{list, content} {
				if b, err := json.Marshal(v); err != nil || strings.Contains(string(b), `\ufffd\ufffd\ufffd\ufffd`) {
					t.Errorf("%v: %.200s", err, b)
				}
			}
		})
	}
}

// TestContent: text stays whole characters, other bytes fit as base64, and the
// next read goes on where this one ends.
func TestContent(t *testing.T) {
	in := &instance{id: "ws-1"}
	for _, test := range []struct {
		data     string
		end      bool
		most     int
		encoding api.Encoding
		next     int64
		cut      bool
		sum      bool
	}{
		{"text\n", true, 100, api.UTF8, 5, false, true},
		{"", true, 100, api.UTF8, 0, false, true},
		{"h\xc3", false, 2, api.UTF8, 1, true, false},
		{"h\xe2\x82", false, 3, api.UTF8, 1, true, false},
		{"\xf0\x9f\x98", false, 4, api.Base64, 3, true, false},
		{"h\xc3", true, 100, api.Base64, 2, false, true},
		{"a\x00b", true, 100, api.Base64, 3, false, true},
		{"a\x00bcdefg", true, 8, api.Base64, 6, true, false},
	} {
		c, kept := in.content(wire.File{}, []byte(test.data), 0, test.end, test.most)
		if c.Encoding != string(test.encoding) || c.NextOffset != test.next || c.Truncated != test.cut || (c.SHA256 != "") != test.sum || int64(len(kept)) != test.next {
			t.Errorf("%q: %+v", test.data, c)
		}
	}
}
