package debian

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

const debianRelease = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"

func TestFindMirrors(t *testing.T) {
	fallback := Mirrors{
		Main: "http://ftp.debian.org/debian", Security: "http://ftp.debian.org/debian-security",
		MainFrom: "default", SecurityFrom: "default",
	}
	deb822 := `# comment
Types: deb deb-src
URIs: http://near/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

types: deb
uris: http://near/debian-security
Suites: bookworm-security
`
	const list, sources = "etc/apt/sources.list", "etc/apt/sources.list.d/debian.sources"
	for _, c := range []struct {
		name  string
		files map[string]string
		env   map[string]string
		want  Mirrors
		kind  api.Kind
	}{
		{name: "nothing known", want: fallback},
		{
			name: "environment",
			env:  map[string]string{MirrorEnv: "https://m/debian/", SecurityMirrorEnv: "https://s/sec"},
			want: Mirrors{"https://m/debian", "https://s/sec", MirrorEnv, SecurityMirrorEnv},
		},
		{
			name:  "environment before apt",
			files: map[string]string{"etc/os-release": debianRelease, sources: deb822},
			env:   map[string]string{MirrorEnv: "http://m/debian"},
			want:  Mirrors{"http://m/debian", "http://m/debian-security", MirrorEnv, MirrorEnv},
		},
		{
			name:  "security of the environment, main of apt",
			files: map[string]string{"etc/os-release": debianRelease, sources: deb822},
			env:   map[string]string{SecurityMirrorEnv: "http://s/x"},
			want:  Mirrors{"http://near/debian", "http://s/x", sources, SecurityMirrorEnv},
		},
		{
			name:  "deb822",
			files: map[string]string{"etc/os-release": debianRelease, sources: deb822},
			want:  Mirrors{"http://near/debian", "http://near/debian-security", sources, sources},
		},
		{
			name:  "no Debian",
			files: map[string]string{"etc/os-release": "ID=ubuntu\nID_LIKE=debian\n", sources: deb822},
			want:  fallback,
		},
		{
			name: "one-line form",
			files: map[string]string{"usr/lib/os-release": "ID=\"debian\"\n", list: "" +
				"# deb http://commented/debian bookworm main\n" +
				"deb-src http://source/debian bookworm main\n" +
				"deb cdrom:[Debian 12]/ bookworm main\n" +
				"deb http://other/ubuntu x main\n" +
				"deb http://user:secret@private/debian bookworm main\n" +
				"deb file:/srv/debian bookworm main\n" +
				"deb [ arch=amd64 signed-by=/x ] http://near/debian bookworm main # good\n" +
				"deb http://second/debian bookworm main\n"},
			want: Mirrors{"http://near/debian", "http://near/debian-security", list, list},
		},
		{
			name:  "disabled",
			files: map[string]string{"etc/os-release": debianRelease, sources: "Enabled: no\n" + deb822},
			want:  Mirrors{"http://ftp.debian.org/debian", "http://near/debian-security", "default", sources},
		},
		{name: "no URL", env: map[string]string{MirrorEnv: "/srv/mirror"}, kind: api.KindUsage},
		{name: "password", env: map[string]string{MirrorEnv: "http://a:b@c/debian"}, kind: api.KindUsage},
		{name: "no security beside it", env: map[string]string{MirrorEnv: "http://m/mirror"}, kind: api.KindUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := fstest.MapFS{}
			for name, text := range c.files {
				host[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, err := FindMirrors(host, func(name string) string { return c.env[name] })
			if api.KindOf(err) != c.kind {
				t.Fatalf("the error is %v", err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if err != nil && strings.Contains(err.Error(), "a:b") {
				t.Error("the error tells the password")
			}
		})
	}
}

func TestMirrorsSuite(t *testing.T) {
	m := Mirrors{Main: "m", Security: "s"}
	for name, want := range map[string]string{"bookworm": "m", "bookworm-updates": "m", "bookworm-security": "s"} {
		if got := m.Suite(name); got != (Suite{want, name}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzSourcesList(f *testing.F) {
	f.Add("deb [a=b] http://x/debian bookworm main\n")
	f.Add("Types: deb\nURIs: http://x/debian\nSuites: a\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseSourcesList(text), parseSources(strings.NewReader(text))...) {
			if uri, ok := mirrorURL(s.uri); ok && !strings.HasPrefix(uri, "http") {
				t.Errorf("%q became %q", s.uri, uri)
			}
		}
	})
}
