package buildid_test

import (
	"os"
	"path/filepath"
	"testing"

	"pyro/internal/buildid"
)

func TestCopiesAreOneBuild(t *testing.T) {
	self, err := buildid.Of(buildid.Self)
	if err != nil || len(self) != 16 {
		t.Fatalf("got %q, %v", self, err)
	}
	program, err := os.ReadFile(buildid.Self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := buildid.Of(copied); err != nil || got != self {
		t.Errorf("a copy is %q, the original %q, %v", got, self, err)
	}
}

func TestOthersAreNot(t *testing.T) {
	if _, err := buildid.Of(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file has a build")
	}
	if _, err := buildid.Of(os.DevNull); err == nil {
		t.Error("an empty file has a build")
	}
	self, _ := buildid.Of(buildid.Self)
	if shell, err := buildid.Of("/bin/sh"); err != nil || shell == self {
		t.Errorf("/bin/sh: %q, %v", shell, err)
	}
}
