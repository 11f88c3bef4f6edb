package vsock

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// message is a netlink message with a body.
func message(kind uint16, body ...byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(body))
	binary.NativeEndian.PutUint32(b, uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	return append(b, body...)
}

func socket(state byte, cid, port uint32) []byte {
	body := make([]byte, diagMessage)
	body[0], body[2] = unix.AF_VSOCK, state
	binary.NativeEndian.PutUint32(body[4:], cid)
	binary.NativeEndian.PutUint32(body[8:], port)
	return message(unix.SOCK_DIAG_BY_FAMILY, body...)
}

func code(errno unix.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
}

func TestParseListeners(t *testing.T) {
	two := append(socket(stateListen, Any, 22), append(socket(1, 5, 6), socket(stateListen, Host, 80)...)...)
	for name, tc := range map[string]struct {
		answer []byte
		want   []Addr
		done   bool
		err    error
	}{
		"none":         {message(unix.NLMSG_DONE, code(0)...), nil, true, nil},
		"two":          {two, []Addr{{Any, 22}, {Host, 80}}, false, nil},
		"two, the end": {append(two, message(unix.NLMSG_DONE, code(0)...)...), []Addr{{Any, 22}, {Host, 80}}, true, nil},
		"no module":    {message(unix.NLMSG_ERROR, code(unix.ENOENT)...), nil, false, unix.ENOENT},
		"failed":       {message(unix.NLMSG_DONE, code(unix.ENOMEM)...), nil, false, unix.ENOMEM},
		"short":        {message(unix.SOCK_DIAG_BY_FAMILY, 1, 2, 3), nil, false, errDiag},
		"no code":      {message(unix.NLMSG_ERROR), nil, false, errDiag},
		"too long":     {append(binary.NativeEndian.AppendUint32(nil, 1000), make([]byte, 20)...), nil, false, errDiag},
	} {
		got, done, err := parseListeners(tc.answer)
		if diff := cmp.Diff(tc.want, got); diff != "" || done != tc.done || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, done %v, %v", name, got, done, err)
		}
	}
}

func FuzzParseListeners(f *testing.F) {
	f.Add(socket(stateListen, Any, 22))
	f.Add(message(unix.NLMSG_DONE, code(0)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, _, _ := parseListeners(b); len(got) > len(b)/unix.NLMSG_HDRLEN {
			t.Errorf("%d addresses in %d bytes", len(got), len(b))
		}
	})
}
