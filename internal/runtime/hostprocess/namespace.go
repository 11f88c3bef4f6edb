package hostprocess

import (
	"fmt"
	"os"
)

// InUserNamespace says whether this process is root only in a user namespace.
// The host's own namespace maps all ids, https://man7.org/linux/man-pages/man7/user_namespaces.7.html.
func InUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return os.Geteuid() != 0
	}
	var inside, outside, count int64
	if n, _ := fmt.Sscan(string(b), &inside, &outside, &count); n != 3 {
		return true
	}
	return inside != 0 || outside != 0 || count != 1<<32-1
}
