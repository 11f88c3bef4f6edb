package environment

import (
	"strings"
	"testing"
)

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(strings.Replace(goodEntry, "team/x", "x", 1)))
	f.Add([]byte(`{"name":"x","version":"1.0.0","description":"d","platforms":["linux/amd64"],"oci":{"reference":"docker://a/b:c"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntry(data)
		if err != nil {
			return
		}
		if checkName(e.Name) != nil || strings.ContainsAny(e.Name, "/ \x00\n") || e.OCI == nil && e.Recipe == nil {
			t.Fatalf("accepted %+v", e)
		}
		if e.Recipe != nil {
			for _, s := range e.Recipe.Suites {
				if strings.Contains(s, "/") || strings.HasPrefix(s, ".") {
					t.Fatalf("accepted suite %q", s)
				}
			}
		}
	})
}

func FuzzParseCatalog(f *testing.F) {
	f.Add(catalogFile)
	f.Add([]byte(`{"version":"1.0.0","environments":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCatalog(data)
		if err != nil {
			return
		}
		for i := range c.Environments {
			if c.find(c.Environments[i].Name) != &c.Environments[i] {
				t.Fatal("a name stands twice")
			}
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	f.Add([]byte(`{"format":1,"digest":"` + digest + `","size_bytes":4096,"mod_time":"2026-01-01T00:00:00Z","arch":"amd64","created":"2026-01-01T00:00:00Z","builder":1,"source":{"kind":"oci","location":"a"},"config":{"env":["A=b"]},"kernel":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseMeta(data, digest); err == nil && (m.Digest != digest || m.SizeBytes <= 0) {
			t.Fatalf("accepted %+v", m)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"name":"debian:12","arch":"amd64","image":"sha256:` + strings.Repeat("ab", 32) + `","source":{"kind":"debian","location":"m"},"installed":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"format":1,"name":"docker.io/library/x:y","arch":"amd64","image":"sha256:` + strings.Repeat("ab", 32) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err == nil && (strings.ContainsAny(r.Image, "/.") || strings.HasPrefix(r.Name, ".") || strings.HasPrefix(r.Name, "/")) {
			t.Fatalf("accepted %+v", r)
		}
	})
}

func FuzzEscapeName(f *testing.F) {
	f.Add("debian:12", "debian%3A12")
	f.Add("..", ".")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := escapeName(a), escapeName(b)
		if a != b && x == y {
			t.Fatalf("%q and %q are both %q", a, b, x)
		}
		if strings.ContainsAny(x, "/\x00@") || x == "." || x == ".." || len(x) > 200 {
			t.Fatalf("%q became %q", a, x)
		}
	})
}
