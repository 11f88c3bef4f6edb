package pyro_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// olderDisks makes the saved disks of a workspace look as if a pyro with another
// gVisor had written them: the version in them is changed, of the same length,
// and the sums that tell whether they are whole.
func olderDisks(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "older-disks WORKSPACE")
	dirs, err := filepath.Glob(filepath.Join(ts.Getenv("PYRO_STATE_DIR"), "workspaces", args[0], "disks", "*"))
	ts.Check(err)
	if len(dirs) == 0 {
		ts.Fatalf("workspace %s has no saved disk", args[0])
	}
	for _, dir := range dirs {
		ts.Check(olderDisk(dir))
	}
}

func olderDisk(dir string) error {
	const name = "fscheckpoint.pb"
	manifest, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	manifest = bytes.ReplaceAll(manifest, []byte("v0.0.0-20"), []byte("v0.0.0-19"))
	if err := os.WriteFile(filepath.Join(dir, name), manifest, 0o600); err != nil {
		return err
	}
	path := filepath.Join(dir, "disk.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var info map[string]any
	if err := json.Unmarshal(b, &info); err != nil {
		return err
	}
	sum := sha256.Sum256(manifest)
	info["files"].(map[string]any)[name] = map[string]any{"size": len(manifest), "sha256": hex.EncodeToString(sum[:])}
	if b, err = json.Marshal(info); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}
