package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/layer"
)

// newRoot is where the root file system is put together.
const newRoot = "/newroot"

// assemble mounts the disks and the overlays over them.
func (g *Guest) assemble() error {
	l, err := g.overlay("/", DiskRoot, DiskUpper, DiskLayer)
	if err != nil {
		return err
	}
	g.Layers["/"] = l
	if !slices.Contains(g.Disks, DiskSeed) {
		return nil
	}
	l, err = g.overlay("/workspace", DiskSeed, DiskWork, DiskWorkspaceLayer)
	g.Layers["/workspace"] = l
	return err
}

// overlay mounts the image on one disk under a layer on another.
func (g *Guest) overlay(mount, image, upper, saved string) (l Layer, err error) {
	lower, disk := "/lower/"+image, "/upper/"+upper
	if err := g.mountDisk(image, lower, "erofs", unix.MS_RDONLY); err != nil {
		return l, err
	}
	if err := g.mountDisk(upper, disk, "ext4", unix.MS_NOATIME); err != nil {
		return l, err
	}
	up, work := disk+"/up", disk+"/work"
	if err := errors.Join(os.Mkdir(up, 0o755), os.Mkdir(work, 0o700)); err != nil {
		return l, err
	}
	if err := likeBelow(lower, up); err != nil {
		return l, err
	}
	if slices.Contains(g.Disks, saved) {
		if err := restore(saved, up); err != nil {
			return l, err
		}
	}
	at := filepath.Join(newRoot, mount)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return l, err
	}
	// Without redirects and references a layer is what any other reader of such
	// layers expects: a renamed folder is a new folder.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,metacopy=off,index=off,xino=off", lower, up, work)
	if err := unix.Mount("overlay", at, "overlay", 0, options); err != nil {
		return l, fmt.Errorf("mount the overlay at %s: %w", mount, err)
	}
	return openLayer(disk)
}

// openLayer keeps what a layer's export needs, and takes the disk out of sight.
func openLayer(disk string) (Layer, error) {
	f, err := os.Open(disk)
	if err != nil {
		return Layer{}, err
	}
	if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
		return Layer{}, err
	}
	return Layer{Disk: f, Upper: fmt.Sprintf("/proc/self/fd/%d/up", f.Fd())}, nil
}

func (g *Guest) mountDisk(serial, at, fsType string, flags uintptr) error {
	device, err := disk(serial)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	options := ""
	if fsType == "ext4" {
		options = "discard,errors=remount-ro"
	}
	if err := unix.Mount(device, at, fsType, flags, options); err != nil {
		return fmt.Errorf("mount disk %s: %w", serial, err)
	}
	if fsType == "ext4" { // what the kernel keeps back for itself would be missing in df
		_ = os.WriteFile("/sys/fs/ext4/"+filepath.Base(device)+"/reserved_clusters", []byte("0"), 0)
	}
	return nil
}

// likeBelow gives an empty layer the attributes of the folder that it covers.
func likeBelow(lower, up string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(lower, &st); err != nil {
		return err
	}
	when := time.Unix(st.Mtim.Unix())
	return errors.Join(os.Chown(up, int(st.Uid), int(st.Gid)), syscall.Chmod(up, st.Mode&0o7777), os.Chtimes(up, when, when))
}

// restore unpacks the tar on a disk.
func restore(serial, up string) error {
	device, err := disk(serial)
	if err != nil {
		return err
	}
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	return layer.Restore(up, f)
}

// furnish mounts in the new root what every guest has.
func furnish() error {
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		fs, at  string
		flags   uintptr
		options string
	}{
		{"proc", "/proc", plain, ""},
		{"sysfs", "/sys", plain | unix.MS_RDONLY, ""},
		{"cgroup2", "/sys/fs/cgroup", plain, ""},
		{"tmpfs", "/dev", unix.MS_NOSUID, "mode=755,size=64k"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=620,gid=5,ptmxmode=666,newinstance"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		at := newRoot + m.at
		if err := os.MkdirAll(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := unix.Mount(m.fs, at, m.fs, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := devices(newRoot + "/dev"); err != nil {
		return err
	}
	bin := newRoot + AgentDir
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(AgentDir, bin, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the agent: %w", err)
	}
	return unix.Mount("", bin, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// devices makes the devices that a container has, and no others: the machine's
// disks and the port are the agent's.
func devices(dev string) error {
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		path := filepath.Join(dev, d.name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// enter makes the new root the root.
func enter() error {
	for _, at := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", at, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	return errors.Join(unix.Chroot("."), os.Chdir("/"))
}
