package debian

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	_ "embed"

	"pyro/internal/tree"
)

// Job is what a sandbox has to do to configure a stage tree.
type Job struct {
	// Tree is to be the root file system, with a writable layer on top of it. It
	// must not be changed.
	Tree *tree.Tree
	// Args is the command to run as root in /, without a network, with Env as its
	// whole environment and nothing to read. It fails with a status other than 0,
	// and says why on its standard error.
	Args []string
	Env  []string
	// Output takes the standard output of the command. It may be nil; what is
	// written to it are status lines of dpkg, of which progress is made.
	Output io.Writer
	// Packages is how many packages there are to configure.
	Packages int
}

// Configure runs a job and returns the upper layer it has made, as a tar with
// the whiteouts of overlayfs.
type Configure func(ctx context.Context, job Job) (upper io.ReadCloser, err error)

//go:embed standins/enable-units.sh
var enableUnits string

// configureEnv is the environment of the maintainer scripts. shadow and others
// take the time from SOURCE_DATE_EPOCH.
func configureEnv(epoch int64) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive",
		"DEBCONF_NONINTERACTIVE_SEEN=true",
		"DEBCONF_NOWARNINGS=yes",
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch),
	}
}

// configureScript returns the shell script that configures the unpacked
// packages of pkgs: their preinst scripts as "preinst install", which creates
// users and clears the way, then one run of dpkg for everything else. If a step
// fails it prints the end of the log and stops.
func configureScript(pkgs []*unpacked, dpkgVersion string) string {
	var b strings.Builder
	fmt.Fprintf(&b, scriptHead, dpkgVersion)
	order := slices.Clone(pkgs)
	slices.SortStableFunc(order, func(a, b *unpacked) int {
		return cmp.Compare(b2i(b.pkg.Name == "base-passwd"), b2i(a.pkg.Name == "base-passwd"))
	})
	for _, u := range order {
		if _, ok := u.control["preinst"]; ok {
			fmt.Fprintf(&b, "preinst %s %s %s\n", u.pkg.Name, u.pkg.Arch, u.pkg.infoName())
		}
	}
	b.WriteString(scriptTail)
	return b.String()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

const scriptHead = `# Configures the packages of a stage tree. Standard output is dpkg's status lines.
log=/.pyro/log
fail() {
	echo "$1 failed; the end of its log:" >&2
	tail -n 40 "$log" >&2
	exit 1
}
preinst() {
	DPKG_MAINTSCRIPT_PACKAGE=$1 DPKG_MAINTSCRIPT_ARCH=$2 DPKG_MAINTSCRIPT_NAME=preinst \
	DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_DEBUG=0 DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_RUNNING_VERSION=%s DEBCONF_PACKAGE=$1 \
		/var/lib/dpkg/info/"$3".preinst install >>"$log" 2>&1 </dev/null || fail "the preinst script of $1"
}
cd /
`

const scriptTail = `dpkg --force-unsafe-io --status-fd 3 --configure -a 3>&1 >>"$log" 2>&1 </dev/null || fail "dpkg --configure"
[ ! -e /.pyro/enable-units ] || sh /.pyro/enable-units >>"$log" 2>&1 || fail "enabling systemd units"
`

// prepare makes the stage of a tree whose packages are unpacked and recorded.
func (s *stage) prepare(pkgs []*unpacked, installed []*Package, plain bool) error {
	if err := s.put("enable-units", 0o644, enableUnits); err != nil {
		return err
	}
	if err := s.guard(); err != nil {
		return err
	}
	if !plain {
		if err := s.shorten(); err != nil {
			return err
		}
	}
	for _, u := range pkgs {
		if err := s.scripts(u, plain); err != nil {
			return err
		}
	}
	return s.put("configure", 0o644, configureScript(pkgs, dpkgVersion(pkgs, installed)))
}

// dpkgVersion is what dpkg would tell scripts of itself: its upstream version.
func dpkgVersion(pkgs []*unpacked, installed []*Package) string {
	version := "1.21"
	find := func(p *Package) {
		if p.Name == "dpkg" {
			version = strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r == '.' || r == '~' || r == '+' {
					return r
				}
				return -1
			}, p.Version)
		}
	}
	for _, p := range installed {
		find(p)
	}
	for _, u := range pkgs {
		find(u.pkg)
	}
	return version
}

// statusCounter counts the packages that dpkg's status lines call installed:
// "status: NAME: installed".
type statusCounter struct {
	seen map[string]bool
	rest string
	tell func(done int)
}

func (c *statusCounter) Write(p []byte) (int, error) {
	c.rest += string(p)
	for {
		line, rest, ok := strings.Cut(c.rest, "\n")
		if !ok {
			c.rest = c.rest[max(0, len(c.rest)-4096):]
			return len(p), nil
		}
		c.rest = rest
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), ": installed"); ok && strings.HasPrefix(name, "status: ") && !c.seen[name] {
			c.seen[name] = true
			c.tell(len(c.seen))
		}
	}
}
