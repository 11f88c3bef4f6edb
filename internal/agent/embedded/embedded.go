// Package embedded carries the guest agent inside the pyro binary.
//
// The folder bin holds the statically linked agents, one per architecture, as
// `make build` puts them there before it builds pyro. They are not in version
// control; a pyro built without them says so when it starts a sandbox.
package embedded

import (
	"embed"
	"errors"
	"io/fs"
	"runtime"

	"pyro/api"
)

//go:embed all:bin
var files embed.FS

// Agent returns the agent for the architecture that this process runs on.
func Agent() ([]byte, error) {
	b, err := files.ReadFile("bin/pyro-agent-" + runtime.GOARCH)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.KindUnavailable, "this pyro was built without its guest agent for %s", runtime.GOARCH).
			WithHint("build it with: make build")
	}
	return b, err
}
