package debian

import "pault.ag/go/debian/version"

// compareVersions orders two Debian versions as dpkg does. Versions that dpkg
// would not take sort before all others, and among themselves as text, so that
// the order is total whatever an archive says.
func compareVersions(a, b string) int {
	if a == b {
		return 0
	}
	va, errA := version.Parse(a)
	vb, errB := version.Parse(b)
	switch {
	case errA == nil && errB == nil:
		return version.Compare(va, vb)
	case errA == nil:
		return 1
	case errB == nil:
		return -1
	case a < b:
		return -1
	}
	return 1
}

func validVersion(v string) bool {
	_, err := version.Parse(v)
	return err == nil
}
