package debian

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

const goodRelease = `Suite: oldstable
Codename: bookworm
Date: Tue, 04 Mar 2025 05:06:07 UTC
Valid-Until: Tue, 11 Mar 2025 05:06:07 UTC
Acquire-By-Hash: yes
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855        0 main/binary-amd64/Packages
 f61f27bd17de546264aa58f40f3aafaac7021e0ef69c17f6b1b4cd7664a037ec       20 main/binary-amd64/Packages.gz
`

func TestCheckRelease(t *testing.T) {
	key, err := newTestKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := newTestKey()
	if err != nil {
		t.Fatal(err)
	}
	keys := Keyring{openpgp.EntityList{key}}
	good := string(signText(t, key, goodRelease))
	sub := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	signed := func(old, new string) string {
		if !strings.Contains(goodRelease, old) {
			t.Fatalf("the release has no %q", old)
		}
		return string(signText(t, key, strings.Replace(goodRelease, old, new, 1)))
	}
	suite := Suite{"http://mirror/debian", "bookworm"}
	now := archiveDate.Add(time.Hour)
	for _, c := range []struct {
		name, file string
		suite      string
		last, now  time.Time
		want       string // part of the error, "" if it is accepted
	}{
		{name: "good", file: good},
		{name: "by suite name", file: good, suite: "oldstable"},
		{name: "same date again", file: good, last: archiveDate},
		{name: "crlf at the end", file: good + "\r\n \n"},
		{name: "altered", file: sub("20 main", "21 main"), want: "bad signature"},
		{name: "altered signature", file: good[:len(good)-60] + flipLetter(good[len(good)-60:len(good)-59]) + good[len(good)-59:], want: "InRelease file"},
		{name: "text before", file: "Codename: evil\n" + good, want: "does not begin with"},
		{name: "newline before", file: "\n" + good, want: "does not begin with"},
		{name: "text after", file: good + "Codename: evil\n", want: "text after its signature"},
		{name: "second message", file: good + good, want: "text after its signature"},
		{name: "unsigned", file: goodRelease, want: "does not begin with"},
		{name: "empty", file: "", want: "does not begin with"},
		{name: "cut off", file: good[:len(good)/2], want: "not a signed message"},
		{name: "stranger's key", file: string(signText(t, stranger, goodRelease)), want: "none of the archive's keys"},
		{name: "other suite", file: good, suite: "trixie", want: `answered with the suite "oldstable" (code name "bookworm")`},
		{name: "expired", file: good, now: archiveDate.AddDate(0, 0, 8), want: "valid until 2025-03-11"},
		{name: "older than seen", file: good, last: archiveDate.Add(time.Second), want: "one of 2025-03-04 05:06 UTC was seen before"},
		{name: "no SHA256", file: signed("SHA256", "SHA1"), want: "no SHA256 section"},
		{name: "no date", file: signed("Date: ", "X-Date: "), want: "no Date"},
		{name: "odd date", file: signed("07 UTC", "07 CET"), want: "not in UTC"},
		{name: "odd size", file: signed(" 20 ", " -20 "), want: "a size of"},
		{name: "odd hash", file: signed("f61f", "F61F"), want: "SHA256 entry"},
		{name: "climbing path", file: signed("main/binary-amd64/Packages.gz", "../x"), want: "SHA256 entry"},
		{name: "two paragraphs", file: signed("Acquire-By-Hash", "\nAcquire-By-Hash"), want: "second paragraph"},
		{name: "listed twice", file: signed("Packages.gz", "Packages"), want: "listed twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := suite
			if c.suite != "" {
				s.Name = c.suite
			}
			if c.now.IsZero() {
				c.now = now
			}
			r, err := checkRelease(s, []byte(c.file), keys, c.last, c.now)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !r.Date.Equal(archiveDate) || !r.byHash || len(r.files) != 2 || r.SHA256 != sha([]byte(c.file)) || r.SignedBy == "" {
					t.Errorf("it says %+v", r)
				}
				return
			}
			if err == nil {
				t.Fatal("it was accepted")
			}
			e := api.AsError(err)
			if e.Kind != api.KindVerification || e.Hint == "" {
				t.Errorf("the error has the kind %s and the hint %q", e.Kind, e.Hint)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "suite "+s.Name+" of http://mirror/debian") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// flipLetter returns another letter of base64.
func flipLetter(s string) string {
	if s == "A" {
		return "B"
	}
	return "A"
}

// TestExpiredKeyIsGood takes a key that has expired since it signed, as gpgv does.
func TestExpiredKeyIsGood(t *testing.T) {
	key, err := newTestKey()
	if err != nil {
		t.Fatal(err)
	}
	file := signText(t, key, goodRelease)
	seconds := uint32(1)
	for _, id := range key.Identities {
		id.SelfSignature.KeyLifetimeSecs = &seconds
		id.SelfSignature.CreationTime = archiveDate
	}
	key.PrimaryKey.CreationTime = archiveDate
	if _, _, err := (Keyring{openpgp.EntityList{key}}).verify(file); err != nil {
		t.Error(err)
	}
}

// TestArchiveKeys compares the embedded keys with the table in their README.
func TestArchiveKeys(t *testing.T) {
	readme, err := os.ReadFile("keys/README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([-a-z.]+)` \\| .* \\| `([0-9A-F]{40})` \\|").FindAllStringSubmatch(string(readme), -1) {
		want[m[1]] = m[2]
	}
	got := map[string]string{}
	files, err := filepath.Glob("keys/*.gpg")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		k, err := ReadKeyring(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range k.keys {
			got[filepath.Base(name)] += strings.ToUpper(hexOf(e.PrimaryKey.Fingerprint))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := len(ArchiveKeys().keys); n != len(got) {
		t.Errorf("%d keys are embedded, %d are in the folder", n, len(got))
	}
}

func TestReadKeyringRefuses(t *testing.T) {
	for _, b := range []string{"", "nonsense", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"} {
		if _, err := ReadKeyring([]byte(b)); api.KindOf(err) != api.KindVerification {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestParseDate(t *testing.T) {
	for s, ok := range map[string]bool{
		"Tue, 04 Mar 2025 05:06:07 UTC":   true,
		"Tue,  4 Mar 2025 05:06:07 UTC":   true,
		"Tue, 4 Mar 2025 05:06:07 GMT":    true,
		"Tue, 04 Mar 2025 05:06:07 +0000": true,
		"Tue, 04 Mar 2025 05:06:07 +0100": false,
		"Tue, 04 Mar 2025 05:06:07 XYZ":   false,
		"2025-03-04":                      false,
	} {
		got, err := parseDate(s)
		if (err == nil) != ok || ok && !got.Equal(archiveDate) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte(goodRelease))
	f.Add([]byte("Date: Tue, 04 Mar 2025 05:06:07 UTC\nSHA256: \n a b c\n\tx\n#\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRelease(b)
		if err != nil {
			return
		}
		for name, e := range r.files {
			if !safeFilename(name) || e.size < 0 || !validSHA256(e.sha256) {
				t.Errorf("%q is %+v", name, e)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	key, err := newTestKey()
	if err != nil {
		f.Fatal(err)
	}
	good := signText(f, key, goodRelease)
	f.Add(good)
	keys := Keyring{openpgp.EntityList{key}}
	text, _, err := keys.verify(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := keys.verify(b)
		if err == nil && string(got) != string(text) {
			t.Errorf("it verified %q", got)
		}
	})
}
