package debian

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"

	_ "embed"

	"pyro/internal/tree"
)

// Starting a process costs several milliseconds in a gVisor sandbox, ten times
// what it costs on the host, and maintainer scripts start thousands. Most of
// them do nothing in a fresh installation, or do with two processes per
// certificate what one can do for all. While the scripts run, the files below
// are therefore stood in for. What is left in the tree is the same to the byte;
// a test configures real packages both ways and compares.
//
// Each rule looks for exact text of the file that it knows. A version that reads
// otherwise runs as it is: slower, never differently.

// noHelpers removes calls of dpkg-maintscript-helper from scripts. It moves
// conffiles and folders of an older version of the package, and there is none:
// nothing that Build configures has been installed before.
var noHelpers = regexp.MustCompile(`(?m)^[ \t]*dpkg-maintscript-helper (rm_conffile|mv_conffile|symlink_to_dir|dir_to_symlink) [-+./:~\\\w ]* -- "\$@"( \|\| true)?$`)

// compilesPython finds scripts that make .pyc files.
var compilesPython = regexp.MustCompile(`py3?compile|py_compile|compileall|rtupdate`)

// timedPython lets a script compile Python as on any Debian. With
// SOURCE_DATE_EPOCH set, Python would check every .pyc against a hash of its
// source whenever it imports it, for ever after; by default it compares times,
// which are those of the packages and as reproducible.
func timedPython(script string) string {
	first, rest, _ := strings.Cut(script, "\n")
	if !strings.HasPrefix(first, "#!") || !strings.Contains(first, "sh") || !compilesPython.MatchString(rest) {
		return script
	}
	return first + "\nunset SOURCE_DATE_EPOCH\n" + rest
}

// edit replaces text that a file has exactly once.
type edit struct{ old, new string }

// caConfig edits the config script of ca-certificates, which starts two
// subshells and two programs for each of some 150 certificates to look for a
// whole line in a list.
var caConfig = []edit{
	{`if (echo "$CERTS_DISABLED" | grep -F -q -x "$crt") > /dev/null 2>&1; then`, `if pyro_listed "$CERTS_DISABLED" "$crt"; then`},
	{`elif (echo "$CERTS_TRUST" | grep -F -q -x "$crt") > /dev/null 2>&1; then`, `elif pyro_listed "$CERTS_TRUST" "$crt"; then`},
	{`action="$1"`, `action="$1"
pyro_listed() {
  case "
$1
" in *"
$2
"*) return 0;; esac
  return 1
}`},
}

//go:embed standins/ca-add.sh
var caAdd string

// caUpdate edits update-ca-certificates, whose add() starts five programs for a
// certificate: it collects the names instead and one perl does the work of all.
var caUpdate = []edit{
	{`add() {
  CERT="$1"
  PEM="$ETCCERTSDIR/$(basename "$CERT" .crt | sed -e 's/ /_/g' \
                                                  -e 's/[()]/=/g' \
                                                  -e 's/,/_/g').pem"
  if ! test -e "$PEM" || [ "$(readlink "$PEM")" != "$CERT" ]
  then
    ln -sf "$CERT" "$PEM"
    echo "+$PEM" >> "$ADDED"
  fi
  # Add trailing newline to certificate, if it is missing (#635570)
  sed -e '$a\' "$CERT" >> "$TEMPBUNDLE"
}
`, caAdd},
	{`ADDED_CNT=$(wc -l < "$ADDED")`, "pyro_add_all\n" + `ADDED_CNT=$(wc -l < "$ADDED")`},
	{`find "$ETCCERTSDIR" -type l ! -exec test -e {} \; -print |`, `find "$ETCCERTSDIR" -xtype l -print |`},
}

//go:embed standins/deb-systemd-helper.sh
var systemdHelper string

// The files that are stood in for.
const (
	caUpdatePath      = "/usr/sbin/update-ca-certificates"
	systemdHelperPath = "/usr/bin/deb-systemd-helper"
	ischrootPath      = "/usr/bin/ischroot"
	policyPath        = "/usr/sbin/policy-rc.d"
)

// guard keeps the sandbox from starting services, and says that what is being
// configured is not the system that runs: libc's postinst would otherwise look
// for an init to restart, and wait for it.
func (s *stage) guard() error {
	if err := s.standIn(policyPath, 0o755, "#!/bin/sh\nexit 101\n"); err != nil {
		return err
	}
	if !s.has(ischrootPath) {
		return nil
	}
	return s.standIn(ischrootPath, 0o755, "#!/bin/sh\nexit 0\n")
}

// shorten stands in for programs that are slow.
func (s *stage) shorten() error {
	if s.has(systemdHelperPath) && !s.has("/usr/bin/systemctl") {
		if err := s.standIn(systemdHelperPath, 0o755, systemdHelper); err != nil {
			return err
		}
	}
	return s.edit(caUpdatePath, caUpdate)
}

// scripts stands in for those maintainer scripts of a package that are edited.
func (s *stage) scripts(u *unpacked, plain bool) error {
	for _, name := range []string{"preinst", "postinst", "config"} {
		f, ok := u.control[name]
		if !ok {
			continue
		}
		text := timedPython(string(f.data))
		if !plain {
			text = noHelpers.ReplaceAllString(text, ":")
			if u.pkg.Name == "ca-certificates" && name == "config" {
				text = apply(text, caConfig)
			}
		}
		if text == string(f.data) {
			continue
		}
		if err := s.standIn(infoDir+u.pkg.infoName()+"."+name, f.mode, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) has(path string) bool {
	_, err := s.tree.Lookup(path)
	return err == nil
}

// edit stands in for a script, if it is there and every edit applies.
func (s *stage) edit(path string, edits []edit) error {
	n, err := s.tree.Lookup(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && n.Type != tree.Regular {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := s.tree.ReadFile(path)
	if err != nil {
		return err
	}
	if text := apply(string(old), edits); text != string(old) {
		return s.standIn(path, n.Mode, text)
	}
	return nil
}

// apply makes all edits of text, or none.
func apply(text string, edits []edit) string {
	out := text
	for _, e := range edits {
		if strings.Count(out, e.old) != 1 {
			return text
		}
		out = strings.Replace(out, e.old, e.new, 1)
	}
	return out
}
