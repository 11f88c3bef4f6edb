package machines

import (
	"path"
	"syscall"

	"pyro/api"
)

// NoFolder says that a command cannot start because its folder is not there.
func NoFolder(id, dir string) *api.Error {
	return commandError(syscall.ENOTDIR, "folder %q does not exist in sandbox %s", dir, id).
		WithHint("name a folder that exists, or make it first")
}

// NoCommand says that a command's program is not there.
func NoCommand(name string) *api.Error {
	return commandError(syscall.ENOENT, "command %q was not found", name).
		WithHint("install it in the sandbox or choose another environment, see: pyro env list")
}

// NotExecutable says that what a command names is no program.
func NotExecutable(name string) *api.Error {
	return commandError(syscall.EACCES, "command %q cannot be executed", name).
		WithHint("check its mode with: ls -l %s; a script needs a #! line", path.Clean(name))
}

// commandError is one whose number of errno(3) package sandbox reads.
func commandError(errno syscall.Errno, format string, args ...any) *api.Error {
	e := api.Errorf(api.KindExec, format, args...)
	e.Err = errno
	return e
}
