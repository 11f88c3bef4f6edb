// Package buildid tells builds of pyro apart.
//
// Client and background process compare their builds, so that a new pyro never
// talks to an old background process by accident. The version alone does not
// do: during development every build has the same one. A build is a hash of the
// build id that the Go linker writes into every program; it is the same for all
// copies of one file, wherever and whenever they were copied.
package buildid

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"

	"pyro/api"
)

// Self is the path under which a process finds its own program, even after
// another file took its name.
const Self = "/proc/self/exe"

// Of names the build of the program at path, for example "0c1d2e3f40516273".
// It reads a few hundred bytes of the file.
func Of(path string) (string, error) {
	id, err := note(path)
	if err != nil {
		return "", api.Errorf(api.KindInternal, "program %s: %w", path, err)
	}
	sum := sha256.Sum256(id)
	return hex.EncodeToString(sum[:8]), nil
}

// note returns the linker's build id, or what the file system says about the
// file if the program was linked without one.
func note(path string) ([]byte, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if s := f.Section(".note.go.buildid"); s != nil && s.Size > 16 && s.Size < 4096 {
		return s.Data()
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%d %d", info.Size(), info.ModTime().UnixNano()), nil
}
