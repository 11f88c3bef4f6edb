package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A project is what workspaces are measured with: 10,000 text files of 128 MB
// in 100 folders, the same bytes every time.
//
//	DIR/workspace/
//	├── d00/ ... d99/
//	│   ├── m0.py ... m9.py      Python modules, mostly comments
//	│   └── f10.txt ... f99.txt
const (
	projectFolders = 100
	projectFiles   = 10_000
	projectBytes   = 128_000_000
)

// projectSizes are the sizes of the files, spread as those of sources are, with
// many small ones. The last ones make the sum what it should be.
func projectSizes() []int {
	random := rand.New(rand.NewPCG(1, 1)) // the same on every machine
	const mean, least = projectBytes / projectFiles, 100
	sizes := make([]int, projectFiles)
	left := projectBytes
	for i := range sizes {
		size := min(least+int(random.ExpFloat64()*(mean-least)), 20*mean)
		if rest := len(sizes) - i; rest == 1 || left-size < least*rest {
			size = left / rest
		}
		sizes[i] = size
		left -= size
	}
	return sizes
}

// writeProject writes files of the given sizes into a new folder.
func writeProject(dir string, sizes []int) error {
	random := rand.New(rand.NewPCG(2, 2))
	for i, size := range sizes {
		name := filepath.Join(dir, projectFile(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, text(random, i, size), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// projectFile is the path of the i-th file.
func projectFile(i int) string {
	folder, n := i%projectFolders, i/projectFolders
	if n < 10 {
		return fmt.Sprintf("d%02d/m%d.py", folder, n)
	}
	return fmt.Sprintf("d%02d/f%d.txt", folder, n)
}

// text is lines of random words, which are comments to Python.
func text(random *rand.Rand, i, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "name = 'file %d'\n", i)
	for b.Len() < size {
		b.WriteString("#")
		for range 8 {
			fmt.Fprintf(&b, " %x", random.Uint32()>>(random.Uint32()%24))
		}
		b.WriteString("\n")
	}
	b.Truncate(size)
	b.Bytes()[size-1] = '\n'
	return b.Bytes()
}

// editScript changes ten files of the project it is run in, in sh: each time it
// is given another word.
func editScript(word string) string {
	return fmt.Sprintf(`sed -i "2s/.*/# edited: %s/" d0[0-9]/f50.txt`, word)
}

// edits is a word that has not been used before, for editScript.
func edits() string { return theLab.spec("").ID }

// edited is how many files editScript changes.
const edited = 10

// newProject writes the project into a folder of the lab and returns it.
func newProject(name string) (string, error) {
	dir, err := theLab.folder("projects/" + name)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "workspace")
	return dir, writeProject(dir, projectSizes())
}
