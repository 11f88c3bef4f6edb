package handshake_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
	"pyro/internal/handshake"
)

func TestTheFirstWordArrives(t *testing.T) {
	refusal := &api.Error{Kind: api.KindConflict, Message: "taken", Hint: "look"}
	for name, want := range map[string]error{"ready": nil, "error": refusal} {
		listen, speak, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Dup(int(speak.Fd())) // the speaker closes its own
		if err != nil {
			t.Fatal(err)
		}
		speak.Close()
		say := handshake.Speaker(func(string) string { return strconv.Itoa(fd) })
		say(want)
		say(errors.New("a second word"))
		if diff := cmp.Diff(want, handshake.Listen(listen)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		listen.Close()
	}
}

func TestSilence(t *testing.T) {
	for _, text := range []string{"", "{", `{}`, `"ready"`, strings.Repeat(" ", 1<<20)} {
		if err := handshake.Listen(strings.NewReader(text)); err != handshake.ErrSilent {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	for _, fd := range []string{"", "x", "0", "2"} { // no pipe: nothing to do, nothing closed
		handshake.Speaker(func(string) string { return fd })(nil)
	}
}
