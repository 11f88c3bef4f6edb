// Package handshake carries the first word of a new background process to the
// client that started it.
//
// The client gives the process the writing end of a pipe and names its number
// in [Variable]. The process writes one line of JSON, {"ready":true} once it
// answers on its socket or {"error":{kind,message,hint}} if it cannot, and
// closes the pipe. A pipe that closes without a line means that the process died.
package handshake

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"

	"pyro/api"
)

// Variable is the environment variable that holds the number of the pipe's
// file descriptor.
const Variable = "PYRO_DAEMON_READY_FD"

// FD is the number a client uses.
const FD = 3

// ErrSilent says that the pipe closed without a word.
var ErrSilent = errors.New("ended without a word")

type word struct {
	Ready bool       `json:"ready,omitempty"`
	Error *api.Error `json:"error,omitempty"`
}

// Speaker returns the function with which the background process speaks: nil
// means ready. Only the first call counts. Without a pipe it does nothing.
func Speaker(getenv func(string) string) func(error) {
	fd, err := strconv.Atoi(getenv(Variable))
	if err != nil || fd < 3 {
		return func(error) {}
	}
	syscall.CloseOnExec(fd) // sandboxes must not hold the pipe open
	var once sync.Once
	return func(err error) {
		once.Do(func() {
			pipe := os.NewFile(uintptr(fd), "ready")
			_ = json.NewEncoder(pipe).Encode(word{Ready: err == nil, Error: api.AsError(err)}) // a client that is gone does not need it
			pipe.Close()
		})
	}
}

// Listen reads the word from r. It returns nil for ready, the process's own
// error, or ErrSilent.
func Listen(r io.Reader) error {
	var w word
	if err := json.NewDecoder(io.LimitReader(r, 64<<10)).Decode(&w); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return ErrSilent
	}
	if w.Error != nil {
		return w.Error
	}
	if !w.Ready {
		return ErrSilent
	}
	return nil
}
