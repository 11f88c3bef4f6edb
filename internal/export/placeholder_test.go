package export

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestPublishOverPlaceholder is the way of file systems that cannot rename
// without replacing.
func TestPublishOverPlaceholder(t *testing.T) {
	for _, folder := range []bool{false, true} {
		for _, taken := range []bool{false, true} {
			dir := t.TempDir()
			target := filepath.Join(dir, "out")
			p, err := newPlace(target, folder)
			if err != nil {
				t.Fatal(err)
			}
			if taken {
				if err := os.WriteFile(target, []byte("theirs"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err = p.publishOverPlaceholder(folder)
			if taken != errors.Is(err, fs.ErrExist) || !taken && err != nil {
				t.Errorf("folder %v, taken %v: %v", folder, taken, err)
			}
			p.published = !taken
			p.close()
			all, _ := os.ReadDir(dir)
			info, err := os.Lstat(target)
			if err != nil || len(all) != 1 || info.IsDir() != (folder && !taken) || info.Mode().IsRegular() && (info.Size() == 6) != taken {
				t.Errorf("folder %v, taken %v: %v, %v", folder, taken, all, err)
			}
		}
	}
}
