package debian

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pyro/api"
)

// Suite is one distribution of one archive, as a line of an apt source names it.
type Suite struct {
	Mirror string // URL of the archive, without a slash at the end
	Name   string // "bookworm", "bookworm-security"; a code name or a suite name
}

// dist is the URL under which the suite's files are.
func (s Suite) dist() string { return s.Mirror + "/dists/" + s.Name }

// Release is a verified InRelease file.
type Release struct {
	Suite
	// Date is when the archive made the file. A later build must not accept an
	// older one, or a mirror could hide security fixes by keeping still.
	Date   time.Time
	SHA256 string // of the InRelease file, lower-case hexadecimal
	// SignedBy is the fingerprint of the primary key whose signature was checked.
	SignedBy string

	codename   string
	suiteName  string
	validUntil time.Time // zero if it does not expire
	byHash     bool      // the index files are also to be had under by-hash/
	files      map[string]indexFile
}

// indexFile is an entry of the SHA256 section of a Release file.
type indexFile struct {
	size   int64
	sha256 string
}

// maxInRelease bounds the InRelease file; Debian's have up to 200 KiB.
const maxInRelease = 8 << 20

// checkRelease verifies an InRelease file that was fetched for s at the time now
// and returns what it says. last is the newest Date seen for s before, or zero.
func checkRelease(s Suite, inRelease []byte, keys Keyring, last, now time.Time) (*Release, error) {
	text, signer, err := keys.verify(inRelease)
	if err != nil {
		return nil, refuse(s, "its InRelease file %w", err).
			WithHint("somebody on the way may have altered it, or the mirror is none of Debian: try another one (PYRO_DEBIAN_MIRROR)")
	}
	r, err := parseRelease(text)
	if err != nil {
		return nil, refuse(s, "its InRelease file is malformed: %w", err).WithHint("try another mirror (PYRO_DEBIAN_MIRROR)")
	}
	r.Suite, r.SignedBy = s, signer
	sum := sha256.Sum256(inRelease)
	r.SHA256 = hex.EncodeToString(sum[:])
	return r, r.accept(last, now)
}

// accept reports why a well-formed, signed Release is not the one to use.
func (r *Release) accept(last, now time.Time) error {
	const day = time.DateOnly + " 15:04 MST"
	switch {
	case r.Name != r.codename && r.Name != r.suiteName:
		return refuse(r.Suite, "the mirror answered with the suite %q (code name %q)", clip(r.suiteName), clip(r.codename)).
			WithHint("the mirror mixes its suites up: try another one (PYRO_DEBIAN_MIRROR)")
	case len(r.files) == 0:
		return refuse(r.Suite, "its InRelease file has no SHA256 section").WithHint("try another mirror (PYRO_DEBIAN_MIRROR)")
	case !r.validUntil.IsZero() && now.After(r.validUntil):
		return refuse(r.Suite, "its InRelease file was valid until %s only", r.validUntil.Format(day)).
			WithHint("check the host's clock with date, or try a mirror that is up to date (PYRO_DEBIAN_MIRROR)")
	case r.Date.Before(last):
		return refuse(r.Suite, "its InRelease file is of %s, but one of %s was seen before", r.Date.Format(day), last.UTC().Format(day)).
			WithHint("the mirror is behind or hides updates: try another one (PYRO_DEBIAN_MIRROR)")
	}
	return nil
}

func refuse(s Suite, format string, args ...any) *api.Error {
	return api.Errorf(api.KindVerification, "suite %s of %s: %w", s.Name, s.Mirror, fmt.Errorf(format, args...))
}

// parseRelease reads the text of a Release file (its format is described in
// https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files).
func parseRelease(text []byte) (*Release, error) {
	r := &Release{files: map[string]indexFile{}}
	paragraphs := 0
	err := scanControl(bytes.NewReader(text), func(name, value []byte) (err error) {
		if paragraphs > 0 {
			return fmt.Errorf("a second paragraph")
		}
		switch string(name) {
		case "Suite":
			r.suiteName = string(value)
		case "Codename":
			r.codename = string(value)
		case "Acquire-By-Hash":
			r.byHash = string(value) == "yes"
		case "Date":
			r.Date, err = parseDate(string(value))
		case "Valid-Until":
			r.validUntil, err = parseDate(string(value))
		case "SHA256":
			err = r.addFiles(string(value))
		}
		return err
	}, func() error { paragraphs++; return nil })
	if err != nil {
		return nil, err
	}
	if r.Date.IsZero() {
		return nil, fmt.Errorf("it has no Date")
	}
	return r, nil
}

// addFiles reads the lines "hash size path" of a SHA256 section.
func (r *Release) addFiles(value string) error {
	for line := range strings.Lines(value) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || !validSHA256(f[0]) || !safeFilename(f[2]) {
			return fmt.Errorf("SHA256 entry %q", clip(strings.TrimSpace(line)))
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("%s has a size of %q bytes", clip(f[2]), clip(f[1]))
		}
		if old, ok := r.files[f[2]]; ok && old != (indexFile{size, f[0]}) {
			return fmt.Errorf("%s is listed twice with different content", clip(f[2]))
		}
		r.files[f[2]] = indexFile{size, f[0]}
	}
	return nil
}

// parseDate reads a date of RFC 2822 in UTC. Debian has written single-digit
// days both as " 4" and as "04", and UTC as "UTC" or "+0000".
func parseDate(s string) (time.Time, error) {
	// The zone is looked at here: time.Parse takes any unknown one for UTC.
	date, zone, _ := cutLast(s, " ")
	t, err := time.Parse("Mon, _2 Jan 2006 15:04:05", date)
	if err != nil {
		return time.Time{}, fmt.Errorf("the date %q cannot be read", clip(s))
	}
	if !slices.Contains([]string{"UTC", "GMT", "+0000"}, zone) {
		return time.Time{}, fmt.Errorf("the date %q is not in UTC", clip(s))
	}
	return t, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
