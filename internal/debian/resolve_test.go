package debian

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

// indexOf makes an index of paragraphs "name version|Field: value|...".
func indexOf(t *testing.T, lines ...string) *Index {
	t.Helper()
	var text strings.Builder
	for _, line := range lines {
		parts := strings.Split(line, "|")
		name, version, _ := strings.Cut(parts[0], " ")
		fmt.Fprintf(&text, "Package: %s\nVersion: %s\nArchitecture: amd64\nFilename: pool/x.deb\nSize: 1\nSHA256: %s\n%s\n\n",
			name, version, sha([]byte(line)), strings.ReplaceAll(strings.Join(parts[1:], "\n"), ";", "|"))
	}
	x := &Index{byName: map[string][]*Package{}}
	if err := parsePackages(strings.NewReader(text.String()), "http://m", "amd64", x.add); err != nil {
		t.Fatal(err)
	}
	x.finish()
	return x
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name      string
		index     []string // ";" stands for "|" between alternatives
		want      string
		installed string
		chosen    string
		kind      api.Kind
		message   string
	}{
		{
			name:  "closure with essential and required",
			index: []string{"e 1|Essential: yes", "r 1|Priority: required|Depends: d", "d 1", "w 1|Pre-Depends: p", "p 1", "unneeded 1"},
			want:  "w", chosen: "d 1, e 1, p 1, r 1, w 1",
		},
		{name: "newest version", index: []string{"w 1", "w 2", "w 1.5"}, want: "w", chosen: "w 2"},
		{name: "dpkg's order of versions", index: []string{"w 1.9-1", "w 1.10-1", "w 1.10~rc1-1"}, want: "w", chosen: "w 1.10-1"},
		{name: "older version asked for", index: []string{"w 1|Depends: d (<< 2)", "d 2", "d 1.9"}, want: "w", chosen: "d 1.9, w 1"},
		{name: "first alternative", index: []string{"w 1|Depends: a ; b", "a 1", "b 1"}, want: "w", chosen: "a 1, w 1"},
		{name: "second alternative is there", index: []string{"w 1|Depends: a ; b", "a 1", "b 1|Priority: required"}, want: "w", chosen: "b 1, w 1"},
		{name: "second alternative exists", index: []string{"w 1|Depends: a (>= 2) ; b", "a 1", "b 1"}, want: "w", chosen: "b 1, w 1"},
		{name: "provided", index: []string{"w 1|Depends: virtual", "z 1|Provides: virtual|Priority: important", "a 1|Provides: virtual|Priority: optional"}, want: "w", chosen: "w 1, z 1"},
		{name: "provided by what is there", index: []string{"w 1|Depends: virtual", "z 1|Provides: virtual|Priority: required", "a 1|Provides: virtual"}, want: "w", chosen: "w 1, z 1"},
		{name: "provided with version", index: []string{"w 1|Depends: v (>= 2)", "a 1|Provides: v", "b 1|Provides: v (= 1)", "c 1|Provides: v (= 2)"}, want: "w", chosen: "c 1, w 1"},
		{name: "qualifiers", index: []string{"w 1|Depends: a:any, b:native", "a 1", "b 1"}, want: "w", chosen: "a 1, b 1, w 1"},
		{name: "foreign qualifier", index: []string{"w 1|Depends: a:i386 ; b", "a 1", "b 1"}, want: "w", chosen: "b 1, w 1"},
		{name: "want provided", index: []string{"a 1|Provides: v"}, want: "v", chosen: "a 1"},
		{name: "circle", index: []string{"a 1|Depends: b", "b 1|Depends: a"}, want: "a", chosen: "a 1, b 1"},
		{name: "installed", index: []string{"w 1|Depends: i", "i 1"}, want: "w", installed: "i 1", chosen: "w 1"},
		{name: "wanted is installed", index: []string{"w 2"}, want: "w", installed: "w 1", chosen: ""},
		{name: "installed provides", index: []string{"w 1|Depends: v", "a 1|Provides: v"}, want: "w", installed: "i 1|Provides: v", chosen: "w 1"},
		{
			name: "installed too old", index: []string{"w 1|Depends: i (>= 2)", "i 2"}, want: "w", installed: "i 1",
			kind: api.KindConflict, message: "w needs i (>= 2), but the base has i 1 and the archive 2",
		},
		{name: "unknown", index: []string{"a 1"}, want: "w", kind: api.KindNotFound, message: `no package "w"`},
		{name: "missing dependency", index: []string{"w 1|Depends: x (>= 3) ; y"}, want: "w", kind: api.KindNotFound, message: "package w 1 needs x (>= 3) | y"},
		{
			name: "chosen version in the way", index: []string{"a 2|Priority: required", "a 1", "w 1|Depends: a (= 1)"}, want: "w",
			kind: api.KindConflict, message: "but a 2 is chosen",
		},
		{
			name: "conflict", index: []string{"w 1|Depends: a, b", "a 1|Conflicts: b (<< 2)", "b 1"}, want: "w",
			kind: api.KindConflict, message: "packages a 1 and b 1 cannot be installed together: a conflicts with b (<< 2)",
		},
		{
			name: "breaks what is installed", index: []string{"w 1|Breaks: i (<= 1)"}, want: "w", installed: "i 1",
			kind: api.KindConflict, message: "w breaks i (<= 1)",
		},
		{
			name: "broken by what is installed", index: []string{"w 1"}, want: "w", installed: "i 1|Breaks: w",
			kind: api.KindConflict, message: "i breaks w",
		},
		{name: "conflict with another version", index: []string{"w 1|Depends: a", "a 1|Conflicts: w (<< 1)"}, want: "w", chosen: "a 1, w 1"},
		{name: "conflicts with what it provides", index: []string{"w 1|Provides: v|Conflicts: v"}, want: "w", chosen: "w 1"},
		{
			name: "conflict with what another provides", index: []string{"w 1|Depends: a|Provides: v|Conflicts: v", "a 1|Provides: v"}, want: "w",
			kind: api.KindConflict, message: "w conflicts with v",
		},
		{name: "malformed", index: []string{"w 1|Depends: a (?? 1)"}, want: "w", kind: api.KindVerification, message: "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := indexOf(t, c.index...)
			var installed []*Package
			if c.installed != "" {
				for _, versions := range indexOf(t, c.installed).byName {
					installed = append(installed, versions...)
				}
			}
			got, err := x.resolve([]string{c.want}, installed)
			if api.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.message) {
				t.Fatalf("the error is %v", err)
			}
			if err != nil && api.AsError(err).Hint == "" {
				t.Error("there is no hint")
			}
			var names []string
			for _, p := range got {
				names = append(names, p.String())
			}
			if d := cmp.Diff(c.chosen, strings.Join(names, ", ")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParsePackagesRefuses(t *testing.T) {
	good := "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\nSHA256: " + sha(nil) + "\n"
	if err := parsePackages(strings.NewReader(good), "m", "amd64", func(*Package) {}); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"Package: a", "Package: ../a"},
		{"Version: 1", "Version: one two"},
		{"amd64", "i386"},
		{"Size: 1", "Size: 0"},
		{"Size: 1", "Size: 99999999999999"},
		{"Size: 1\n", ""},
		{"SHA256: ", "SHA256: zz"},
		{"pool/a.deb", "../a.deb"},
		{"pool/a.deb", "/etc/passwd"},
		{"pool/a.deb", "pool/a deb"},
		{"pool/a.deb", "pool/a.deb?x=y"},
		{"Package: a", "nonsense"},
		{"Package: a", " continuation"},
	} {
		text := strings.Replace(good, c[0], c[1], 1)
		if err := parsePackages(strings.NewReader(text), "m", "amd64", func(*Package) {}); err == nil {
			t.Errorf("%q was accepted", c[1])
		}
	}
}

func TestControlIsBounded(t *testing.T) {
	nothing := func([]byte, []byte) error { return nil }
	for name, text := range map[string]string{
		"line":  "A: " + strings.Repeat("x", maxControlLine),
		"field": "A: x\n" + strings.Repeat(" "+strings.Repeat("x", 1<<19)+"\n", maxControlField>>19),
	} {
		if err := scanControl(strings.NewReader(text), nothing, func() error { return nil }); err == nil {
			t.Errorf("a long %s was accepted", name)
		}
	}
	long := "A: " + strings.Repeat("x", maxControlLine-100) + "\n"
	n := 0
	err := scanControl(strings.NewReader(long), func(_, v []byte) error { n = len(v); return nil }, func() error { return nil })
	if err != nil || n != maxControlLine-100 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestParseDepends(t *testing.T) {
	got, err := ParseDepends("libc6 (>= 2.36), a | b:any (<<1:2-3) , c(= 1~rc),\n d (> 1),")
	if err != nil {
		t.Fatal(err)
	}
	want := []Alternatives{
		{{Name: "libc6", Op: ">=", Version: "2.36"}},
		{{Name: "a"}, {Name: "b", Arch: "any", Op: "<<", Version: "1:2-3"}},
		{{Name: "c", Op: "=", Version: "1~rc"}},
		{{Name: "d", Op: ">=", Version: "1"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, s := range []string{"a b", "a (", "a (1)", "a (>= )", "a (>= x y)", "(>= 1)", "|", "a |", "-a", "a:", "a (>= 1) x"} {
		if got, err := ParseDepends(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func FuzzParseDepends(f *testing.F) {
	f.Add("libc6 (>= 2.36), a | b:any (<<1:2-3) , c(= 1~rc),")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseDepends(s)
		if err != nil {
			return
		}
		var parts []string
		for _, a := range got {
			parts = append(parts, a.String())
		}
		again, err := ParseDepends(strings.Join(parts, ", "))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, again); d != "" {
			t.Error(d)
		}
	})
}

func FuzzParsePackages(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\nSHA256: " + sha(nil) + "\nTag: x,\n y\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x := &Index{byName: map[string][]*Package{}}
		if parsePackages(bytes.NewReader(b), "http://m", "amd64", x.add) != nil {
			return
		}
		x.finish()
		for name := range x.byName {
			if !validPackageName(name) {
				t.Errorf("a package %q", name)
			}
			x.resolve([]string{name}, nil)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nConffiles:\n /etc/a 0\n\nPackage: b\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := parseStatus(b)
		if err != nil {
			return
		}
		again, err := parseStatus(db.bytes())
		if err != nil || len(again.paragraphs) != len(db.paragraphs) || len(again.packages) != len(db.packages) {
			t.Errorf("%q became %q: %v", b, db.bytes(), err)
		}
	})
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("1:2.3-4", "1.0~rc1", "x")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compareVersions(a, b)*compareVersions(b, a) > 0 {
			t.Errorf("%q and %q are each before the other", a, b)
		}
	})
}
