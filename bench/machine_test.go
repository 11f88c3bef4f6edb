package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// describeMachine is a table of what the figures depend on.
func describeMachine() string {
	memory, _ := meminfo("MemTotal")
	var b strings.Builder
	b.WriteString("| | |\n|---|---|\n")
	for _, line := range [][2]string{
		{"CPU", fmt.Sprintf("%s, %d cores", cpuName(), runtime.NumCPU())},
		{"memory", fmt.Sprintf("%.0f GB", memory/1e9)},
		{"file system of /tmp", fileSystem("/tmp")},
		{"system", field("/etc/os-release", "PRETTY_NAME", "=") + ", kernel " + firstLine("/proc/sys/kernel/osrelease")},
		{"Go", runtime.Version()},
		{"load at the start", strings.Join(strings.Fields(firstLine("/proc/loadavg") + " - - -")[:3], " ")},
		{"date, commit", time.Now().UTC().Format("2006-01-02") + ", " + commit()},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", line[0], line[1])
	}
	return b.String()
}

func cpuName() string {
	name := field("/proc/cpuinfo", "model name", ":")
	if name == "" {
		name = runtime.GOARCH
	}
	if strings.Contains(" "+field("/proc/cpuinfo", "flags", ":")+" ", " hypervisor ") {
		name += " (virtual machine)"
	}
	return name
}

// field returns the first value of a key in a file of "key SEPARATOR value".
func field(file, key, separator string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == key {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

func firstLine(file string) string {
	b, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// fileSystem names the type of the file system, by the magic numbers of
// statfs(2).
func fileSystem(path string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return err.Error()
	}
	names := map[uint32]string{0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x01021994: "tmpfs", 0x794c7630: "overlayfs"}
	if name, ok := names[uint32(st.Type)]; ok {
		return name
	}
	return fmt.Sprintf("type %#x", st.Type)
}

// commit is the commit that is checked out.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
