package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/wire"
)

// lookUp finds the program that argv names, as a shell with this environment
// and working folder would.
func lookUp(argv []string, dir string, env []string) (string, error) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", &wire.Error{Kind: wire.KindExec, Message: fmt.Sprintf("folder %q does not exist", dir)}
	}
	if len(argv) == 0 || argv[0] == "" {
		return "", &wire.Error{Kind: wire.KindUsage, Message: "no command was given"}
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		return name, nil // the child is in dir before it executes this
	}
	var denied bool
	for _, folder := range filepath.SplitList(variable(env, "PATH")) {
		path := filepath.Join(folder, name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if st, err := os.Stat(path); err != nil || st.IsDir() {
			continue
		}
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
		denied = true
	}
	if denied {
		return "", execError(name, syscall.EACCES)
	}
	return "", execError(name, syscall.ENOENT)
}

// variable returns the last value of name in env.
func variable(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// startError explains why a fork or exec failed.
func startError(cmd Command, err error) error {
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.EAGAIN:
		return &wire.Error{Kind: wire.KindPIDLimit, Message: fmt.Sprintf("command %q cannot start: the limit of processes is reached", cmd.Argv[0])}
	case syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.EISDIR, syscall.ENOTDIR, syscall.EPERM, syscall.ELOOP, syscall.E2BIG, syscall.EINVAL:
		return execError(cmd.Argv[0], errno)
	}
	return &wire.Error{Kind: wire.KindInternal, Message: fmt.Sprintf("command %q cannot start: %v", cmd.Argv[0], err)}
}

func execError(name string, errno syscall.Errno) error {
	message := fmt.Sprintf("command %q cannot be executed: %v", name, errno)
	if errno == syscall.ENOENT {
		message = fmt.Sprintf("command %q was not found", name)
	}
	return &wire.Error{Kind: wire.KindExec, Message: message, Err: errno}
}

// Environ joins lists of KEY=VALUE; later ones win.
func Environ(lists ...[]string) []string {
	var joined []string
	at := make(map[string]int)
	for _, list := range lists {
		for _, kv := range list {
			key, _, _ := strings.Cut(kv, "=")
			if i, ok := at[key]; ok {
				joined[i] = kv
				continue
			}
			at[key] = len(joined)
			joined = append(joined, kv)
		}
	}
	return joined
}

// DefaultEnv is what every process gets first, as the commands do that the
// host starts itself.
var DefaultEnv = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"LANG=C.UTF-8",
}

// briefBytes is how much of a command line stands in descriptions.
const briefBytes = 2 << 10

// Brief returns a copy of the beginning of a command line, whole unless it is
// very long, for descriptions that must fit into one answer.
func Brief(argv []string) []string {
	var brief []string
	left := briefBytes
	for _, arg := range argv {
		if len(arg) > left {
			return append(brief, strings.ToValidUTF8(arg[:left], "")+"...")
		}
		left -= len(arg)
		brief = append(brief, arg)
	}
	return brief
}
