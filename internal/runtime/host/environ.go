package host

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Marker is the variable that says which machine a process belongs to.
const Marker = "PYRO_HOST_MACHINE"

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ is the whole environment of a command; later entries win.
func (m *machine) environ(extra []string) []string {
	env := []string{
		"PATH=" + cmp.Or(os.Getenv("PATH"), defaultPath),
		"HOME=" + filepath.Join(m.path, homeDir),
		"LANG=" + cmp.Or(os.Getenv("LANG"), "C.UTF-8"),
	}
	env = append(env, m.spec.Env...)
	env = append(env, extra...)
	return append(env, Marker+"="+m.path)
}

func getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], key+"="); ok {
			return value
		}
	}
	return ""
}

// workdir turns a folder as the caller names it into one of the host.
func (m *machine) workdir(dir string) string {
	workspace := filepath.Join(m.path, workspaceDir)
	if dir == "" {
		return workspace
	}
	dir = filepath.Clean(dir)
	if rest, ok := strings.CutPrefix(dir, "/workspace"); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(workspace, rest)
	}
	return dir
}

// lookPath finds the program name as execvp(3) would, in the PATH of env and
// relative to dir.
func lookPath(name, dir string, env []string) (string, syscall.Errno) {
	if name == "" {
		return "", syscall.ENOENT
	}
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, executable(path)
	}
	result := syscall.ENOENT
	for _, d := range filepath.SplitList(getenv(env, "PATH")) {
		path := filepath.Join(cmp.Or(d, "."), name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		switch errno := executable(path); errno {
		case 0:
			return path, 0
		case syscall.EACCES:
			result = errno // go on: a later folder may have a good one
		}
	}
	return "", result
}

func executable(path string) syscall.Errno {
	info, err := os.Stat(path)
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if errno == syscall.ENOTDIR {
			return syscall.ENOENT
		}
		return errno
	}
	if err != nil {
		return syscall.ENOENT
	}
	if info.IsDir() || info.Mode()&fs.ModePerm&0o111 == 0 {
		return syscall.EACCES
	}
	return 0
}
