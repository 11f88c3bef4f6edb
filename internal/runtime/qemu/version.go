package qemu

import (
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"sync"

	"pyro/api"
	"pyro/internal/hostcheck"
)

// The oldest QEMU that takes what machines are started with: datagram sockets
// as network links came with it.
const (
	oldestMajor = 7
	oldestMinor = 2
)

// version remembers what one build of QEMU is.
type version struct {
	mu    sync.Mutex
	of    string // identity of the program; guarded by mu, as what follows
	words string // the version as QEMU says it, "" if it is not too old
}

// check refuses a QEMU that is too old. One that does not tell is tried out.
func (v *version) check(path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if of := identity(path); of != v.of {
		v.of, v.words = of, tooOld(askVersion(path))
	}
	if v.words == "" {
		return nil
	}
	var host hostcheck.Host
	return api.Errorf(api.KindUnavailable, "%s is QEMU %s, and microVMs need %d.%d or newer", path, v.words, oldestMajor, oldestMinor).
		WithHint("install a newer one, %s; or run with --runtime gvisor", host.InstallQEMU())
}

func askVersion(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "--version").Output()
	return string(out)
}

var versionWords = regexp.MustCompile(`version (\d{1,4})\.(\d{1,4})`)

// tooOld returns the version in the answer to --version if it is too old, else "".
func tooOld(answer string) string {
	m := versionWords.FindStringSubmatch(answer)
	if m == nil {
		return ""
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major > oldestMajor || major == oldestMajor && minor >= oldestMinor {
		return ""
	}
	return m[1] + "." + m[2]
}
