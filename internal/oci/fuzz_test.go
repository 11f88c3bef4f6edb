package oci

import (
	"strings"
	"testing"
)

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"docker://debian:12", "ghcr.io/a/b@sha256:" + strings.Repeat("ab", 32), "[::1]:5000/x:y", "LOCALHOST/x", "a/b:c", "A/0", "://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q became %q, which reads as %+v, %v", s, ref, again, err)
		}
		if strings.Contains(ref.Repository, "..") || (ref.Tag == "") == (ref.Digest == "") {
			t.Fatalf("%q became %+v", s, ref)
		}
	})
}

func FuzzParseDocument(f *testing.F) {
	digest := "sha256:" + strings.Repeat("00", 32)
	f.Add("", []byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+digest+`","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"`+digest+`","size":1}]}`))
	f.Add(dockerIndex, []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+digest+`","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`))
	f.Add("", []byte(`{"schemaVersion":2,"manifests":[],"layers":[]}`))
	f.Fuzz(func(t *testing.T, mediaType string, data []byte) {
		doc, err := parseDocument("img", mediaType, data)
		if err != nil {
			return
		}
		if doc.manifest == nil {
			d, err := choose("img", doc.index, amd64)
			if err == nil && (d.Size < 0 || d.Size > maxDocument) {
				t.Fatalf("accepted %+v", d)
			}
			return
		}
		for _, l := range doc.manifest.layers {
			if l.Size < 0 || l.Size > maxLayerBytes || strings.ContainsAny(l.Digest, "/.") {
				t.Fatalf("accepted %+v", l)
			}
			if _, ok := layerCompression[l.MediaType]; !ok {
				t.Fatalf("accepted media type %q", l.MediaType)
			}
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","created":"2026-01-01T00:00:00Z","config":{"Env":["A=b"],"WorkingDir":"../x","User":"1:2"},"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("00", 32) + `"]}}`))
	f.Add([]byte(`{"config":{"Env":["A=\u0000"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, diffIDs, err := parseConfig("img", data)
		if err != nil {
			return
		}
		for _, d := range diffIDs {
			if !digestPattern.MatchString(d) {
				t.Fatalf("accepted diff ID %q", d)
			}
		}
		if c.WorkingDir != "" && (c.WorkingDir[0] != '/' || strings.Contains(c.WorkingDir+"/", "/../")) {
			t.Fatalf("working dir %q", c.WorkingDir)
		}
	})
}

func FuzzParseDockerSave(f *testing.F) {
	f.Add([]byte(`[{"Config":"c.json","Layers":["a/layer.tar"]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseDockerSave("a", data); err == nil && len(m.Layers) > maxLayers {
			t.Fatal("too many layers accepted")
		}
	})
}
