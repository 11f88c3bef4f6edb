package debian

import (
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// maxDeb bounds the declared size of one .deb.
const maxDeb = 4 << 30

// Package is a paragraph of a Packages index or of a dpkg status file.
type Package struct {
	Name, Version, Arch string
	MultiArch           string // "same", "foreign", "allowed" or ""
	Priority            string
	Essential           bool
	// URL, Size and SHA256 tell where the .deb is and prove that it is the right
	// one. They are empty in a status file.
	URL    string
	Size   int64
	SHA256 string // lower-case hexadecimal

	// The dependency fields, unread: an index holds 60,000 packages, of which a
	// build looks at a few hundred.
	depends, preDepends, provides, conflicts, breaks, replaces string

	status string // the Status field of a dpkg status file
}

func (p *Package) String() string { return p.Name + " " + p.Version }

// infoName is how the package's files in /var/lib/dpkg/info begin.
func (p *Package) infoName() string {
	if p.MultiArch == "same" {
		return p.Name + ":" + p.Arch
	}
	return p.Name
}

// set takes one field over.
func (p *Package) set(name, value []byte) error {
	switch string(name) {
	case "Package":
		p.Name = string(value)
	case "Version":
		p.Version = string(value)
	case "Architecture":
		p.Arch = string(value)
	case "Multi-Arch":
		p.MultiArch = string(value)
	case "Priority":
		p.Priority = string(value)
	case "Essential":
		p.Essential = string(value) == "yes"
	case "Filename":
		p.URL = string(value)
	case "SHA256":
		p.SHA256 = strings.ToLower(string(value))
	case "Size":
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n <= 0 || n > maxDeb {
			return fmt.Errorf("package %q has a size of %q bytes", clip(p.Name), clip(value))
		}
		p.Size = n
	case "Status":
		p.status = string(value)
	case "Depends":
		p.depends = oneLine(value)
	case "Pre-Depends":
		p.preDepends = oneLine(value)
	case "Provides":
		p.provides = oneLine(value)
	case "Conflicts":
		p.conflicts = oneLine(value)
	case "Breaks":
		p.breaks = oneLine(value)
	case "Replaces":
		p.replaces = oneLine(value)
	}
	return nil
}

func oneLine(value []byte) string { return strings.ReplaceAll(string(value), "\n", " ") }

// parsePackages reads a Packages index of the archive at mirror and calls add
// for every package of it. A package that could not be fetched safely makes the
// whole index invalid: no index of Debian has one.
func parsePackages(r io.Reader, mirror, arch string, add func(*Package)) error {
	p := new(Package)
	return scanControl(r,
		func(name, value []byte) error { return p.set(name, value) },
		func() error {
			if err := p.checkIndexed(arch); err != nil {
				return err
			}
			p.URL = mirror + "/" + p.URL
			add(p)
			p = new(Package)
			return nil
		})
}

// checkIndexed reports what an index must not say of a package.
func (p *Package) checkIndexed(arch string) error {
	switch {
	case !validPackageName(p.Name):
		return fmt.Errorf("%q is not the name of a package", clip(p.Name))
	case !validVersion(p.Version):
		return fmt.Errorf("package %s has the version %q", p.Name, clip(p.Version))
	case p.Arch != "all" && p.Arch != arch:
		return fmt.Errorf("package %s is for %q, not for %s", p.Name, clip(p.Arch), arch)
	case p.Size == 0:
		return fmt.Errorf("package %s has no size", p.Name)
	case !validSHA256(p.SHA256):
		return fmt.Errorf("package %s has the SHA256 %q", p.Name, clip(p.SHA256))
	case !safeFilename(p.URL):
		return fmt.Errorf("package %s has the file name %q", p.Name, clip(p.URL))
	}
	return nil
}

// safeFilename reports whether s is a plain relative path that can be put
// behind a mirror's URL as it is.
func safeFilename(s string) bool {
	if s == "" || len(s) > 1024 || s != path.Clean(s) || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "..") {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`?#\`, r)
	}) < 0
}

func validSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}
