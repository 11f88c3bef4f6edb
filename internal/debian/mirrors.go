package debian

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"pyro/api"
)

// The environment variables that name mirrors.
const (
	MirrorEnv         = "PYRO_DEBIAN_MIRROR"
	SecurityMirrorEnv = "PYRO_DEBIAN_SECURITY_MIRROR"
)

// defaultMirror is used when neither the user nor the host knows a better one.
const defaultMirror = "http://ftp.debian.org/debian"

// Mirrors says where the archives are and who said so.
type Mirrors struct {
	Main     string // URL of a copy of the Debian archive, ends in "/debian" as a rule
	Security string // URL of a copy of the security archive
	// MainFrom and SecurityFrom name an environment variable, a file of the host
	// ("etc/apt/sources.list"), or "default".
	MainFrom, SecurityFrom string
}

// Suite returns the suite with that name: suites that end in "-security" are in
// the security archive.
func (m Mirrors) Suite(name string) Suite {
	if strings.HasSuffix(name, "-security") {
		return Suite{m.Security, name}
	}
	return Suite{m.Main, name}
}

// SourcesList is a sources.list(5) of the suites, each once.
func (m Mirrors) SourcesList(suites []string) string {
	var b strings.Builder
	for i, name := range suites {
		if !slices.Contains(suites[:i], name) {
			s := m.Suite(name)
			fmt.Fprintf(&b, "deb %s %s main\n", s.Mirror, s.Name)
		}
	}
	return b.String()
}

// FindMirrors says which mirrors to use: those of the environment, else those of
// the apt sources of a host that is a Debian, else Debian's own. host is the
// host's root folder (os.DirFS("/")), getenv reads its environment. A security
// mirror that nobody names is taken to be beside the main one.
func FindMirrors(host fs.FS, getenv func(string) string) (Mirrors, error) {
	var m Mirrors
	for _, v := range []struct {
		name     string
		url, who *string
	}{{MirrorEnv, &m.Main, &m.MainFrom}, {SecurityMirrorEnv, &m.Security, &m.SecurityFrom}} {
		uri := getenv(v.name)
		if uri == "" {
			continue
		}
		var ok bool
		if *v.url, ok = mirrorURL(uri); !ok {
			return Mirrors{}, api.Errorf(api.KindUsage, "%s is no http or https URL of a mirror", v.name).
				WithHint("set it like this: %s=%s", v.name, defaultMirror)
		}
		*v.who = v.name
	}
	if m.Main == "" {
		m.fromApt(host)
	}
	if m.Main == "" {
		m.Main, m.MainFrom = defaultMirror, "default"
	}
	if m.Security != "" {
		return m, nil
	}
	root, ok := strings.CutSuffix(m.Main, "/debian")
	if !ok {
		return Mirrors{}, api.Errorf(api.KindUsage, "the mirror %s does not end in /debian, so its security archive is unknown", m.Main).
			WithHint("set %s as well", SecurityMirrorEnv)
	}
	m.Security, m.SecurityFrom = root+"/debian-security", m.MainFrom
	return m, nil
}

// fromApt fills what is not known yet from the host's apt sources.
func (m *Mirrors) fromApt(host fs.FS) {
	if !isDebian(host) {
		return
	}
	for _, name := range aptFiles(host) {
		for _, s := range readAptFile(host, name) {
			uri, ok := mirrorURL(s.uri)
			if !ok {
				continue
			}
			switch {
			case strings.HasSuffix(uri, "/debian") && m.Main == "":
				m.Main, m.MainFrom = uri, name
			case strings.HasSuffix(uri, "/debian-security") && m.Security == "":
				m.Security, m.SecurityFrom = uri, name
			}
		}
	}
}

// isDebian reports whether os-release(5) says so. Derivatives have archives of
// their own.
func isDebian(host fs.FS) bool {
	b := readSmall(host, "etc/os-release")
	if b == "" {
		b = readSmall(host, "usr/lib/os-release")
	}
	for line := range strings.Lines(b) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "ID="); ok {
			return strings.Trim(v, `"'`) == "debian"
		}
	}
	return false
}

// aptFiles lists the files that apt reads, in its order.
func aptFiles(host fs.FS) []string {
	lists, _ := fs.Glob(host, "etc/apt/sources.list.d/*.list")
	deb822, _ := fs.Glob(host, "etc/apt/sources.list.d/*.sources")
	files := slices.Concat(lists, deb822)
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(path.Base(a), path.Base(b)) })
	return append([]string{"etc/apt/sources.list"}, files...)
}

func readAptFile(host fs.FS, name string) []aptSource {
	text := readSmall(host, name)
	if path.Ext(name) == ".sources" {
		return parseSources(bufio.NewReader(strings.NewReader(text)))
	}
	return parseSourcesList(text)
}

// readSmall returns the first MiB of a file, or nothing.
func readSmall(host fs.FS, name string) string {
	f, err := host.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b)
}
