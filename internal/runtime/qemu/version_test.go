package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pyro/api"
)

func TestTooOld(t *testing.T) {
	for answer, want := range map[string]string{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003": "",
		"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)":                             "",
		"QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6.26)":                     "6.2",
		"QEMU emulator version 7.1.0":                                                     "7.1",
		"something else":                                                                  "", "": "", "version 99999999999999999999.1": "",
	} {
		if got := tooOld(answer); got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
	}
}

// TestOldProgram: a QEMU of the PATH that is too old is refused, and a newer one
// in its place is taken at once.
func TestOldProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	install := func(version string) {
		t.Helper()
		path := filepath.Join(dir, programs[0])
		script := "#!/bin/sh\necho QEMU emulator version " + version + "\n"
		if err := os.WriteFile(path+".new", []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	d, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	install("6.2.0")
	if err := d.Require(); api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "6.2") || api.AsError(err).Hint == "" {
		t.Errorf("an old one: %v", err)
	}
	install("10.0.50")
	if err := d.Require(); err != nil {
		t.Errorf("a newer one: %v", err)
	}
}
