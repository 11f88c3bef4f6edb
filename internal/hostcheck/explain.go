package hostcheck

import (
	"errors"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// ExplainUserNamespace turns the error of starting a process in a new user
// namespace into one that names the setting behind it and the command that
// changes it. It returns nil if err is of another sort.
func (h Host) ExplainUserNamespace(err error) *api.Error {
	refused := false
	for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		refused = refused || errors.Is(err, errno)
	}
	if !refused {
		return nil
	}
	for _, check := range []api.HostCheck{h.UserNamespaces(), h.AppArmor()} {
		if !check.OK {
			return api.Errorf(api.KindUnavailable, "no user namespace: %s: %w", check.Detail, err).WithHint("%s", check.Hint)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return api.Errorf(api.KindUnavailable, "no user namespace: the limit of %s is reached: %w", "user.max_user_namespaces", err).
			WithHint("sudo sysctl -w user.max_user_namespaces=15000")
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return api.Errorf(api.KindUnavailable, "no user namespace: the kernel has none: %w", err).
			WithHint("run pyro as root, or use a kernel with CONFIG_USER_NS=y")
	}
	return api.Errorf(api.KindUnavailable, "no user namespace: this process may not make one, as within a container or a chroot: %w", err).
		WithHint("run pyro outside the container, as its root, or start the container with --security-opt seccomp=unconfined")
}
