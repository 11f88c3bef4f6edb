package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
	"pyro/internal/runtime"
)

// state is something that a machine can begin with.
type state struct {
	base   string         // the image of /workspace
	disk   string         // folder of the saved disk over it; "" for none
	driver runtime.Driver // that wrote the disk
}

const (
	seedFile     = "seed.erofs"
	seedInfoFile = "seed.json"
	diskInfoFile = "disk.json"
	secretsFile  = "secrets.json"
	ownBase      = "workspace.erofs" // in a disk's folder, if its base is not the seed
)

func (in *instance) seedPath() string         { return filepath.Join(in.dir, seedFile) }
func (in *instance) disks() string            { return filepath.Join(in.dir, "disks") }
func (in *instance) diskDir(id string) string { return filepath.Join(in.disks(), id) }
func (in *instance) tmp() string              { return filepath.Join(in.dir, "tmp") }

// newTemp makes a folder under tmp/.
func (in *instance) newTemp() (string, error) {
	dir, err := os.MkdirTemp(in.tmp(), "")
	if err != nil {
		return "", storageError(in.what(), err)
	}
	return dir, nil
}

// fileInfo says how to tell that a file is whole.
type fileInfo struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// manifest lists the files of a folder that were written together.
type manifest struct {
	// Driver is the runtime whose machine wrote the disk.
	Driver  string              `json:"driver,omitempty"`
	Created time.Time           `json:"created"`
	Files   map[string]fileInfo `json:"files"`
	// Secrets says, of the seed, that there is a file of secrets beside it.
	Secrets bool `json:"secrets,omitempty"`
}

func (m manifest) size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// describe reads all files of dir, but those that are known, and makes sure that
// they are on the disk.
func describe(dir string, known map[string]fileInfo) (map[string]fileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string]fileInfo{}
	for _, e := range entries {
		if info, ok := known[e.Name()]; ok {
			files[e.Name()] = info
			continue
		}
		if files[e.Name()], err = describeFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func describeFile(path string) (fileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileInfo{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err == nil {
		err = f.Sync()
	}
	return fileInfo{Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// writeSynced makes a file that survives a power failure together with its folder.
func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checked remembers files that were found whole, as long as nothing touches them.
type checked struct {
	mu   sync.Mutex
	good map[fileID]string // the hash it had
}

// fileID changes with every change of a file, ctime being out of anyone's reach.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func identify(path string) (fileID, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return fileID{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, err
}

// check compares a file with what it should be, once.
func (c *checked) check(path string, want fileInfo) error {
	id, err := identify(path)
	if err != nil {
		return err
	}
	c.mu.Lock()
	known := c.good[id]
	c.mu.Unlock()
	if known == want.SHA256 && known != "" {
		return nil
	}
	got, err := describeFile(path)
	if err != nil {
		return err
	}
	if got != want {
		return api.Errorf(api.KindVerification, "%s is damaged: it has %d bytes and SHA-256 %s, not %d and %s", path, got.Size, got.SHA256, want.Size, want.SHA256)
	}
	c.note(path, want)
	return nil
}

// maxChecked bounds what is remembered.
const maxChecked = 10_000

// note remembers a file that was just written, or found whole.
func (c *checked) note(path string, info fileInfo) {
	id, err := identify(path)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good == nil || len(c.good) >= maxChecked {
		c.good = map[fileID]string{}
	}
	c.good[id] = info.SHA256
}

// verify reads the manifest in dir and checks all files it names.
func (m *Manager) verify(dir, name string) (manifest, error) {
	var mf manifest
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return mf, api.Errorf(api.KindVerification, "%s is damaged: %w", dir, err)
	}
	if err := json.Unmarshal(b, &mf); err != nil {
		return mf, api.Errorf(api.KindVerification, "%s is damaged: %w", path, err)
	}
	for name, want := range mf.Files {
		if !filepath.IsLocal(name) {
			return mf, api.Errorf(api.KindVerification, "%s is damaged: it names the file %q", path, name)
		}
		err := m.checked.check(filepath.Join(dir, name), want)
		if errors.Is(err, fs.ErrNotExist) {
			return mf, api.Errorf(api.KindVerification, "%s is damaged: %w", dir, err)
		} else if err != nil {
			return mf, err
		}
	}
	return mf, nil
}

// writeManifest describes dir's files in dir/name, durably. It takes as they are
// those that mf names already, which another folder has durably too.
func (m *Manager) writeManifest(dir, name string, mf manifest) (manifest, error) {
	known := mf.Files
	var err error
	if mf.Files, err = describe(dir, known); err != nil {
		return mf, err
	}
	for name, info := range mf.Files {
		if _, unread := known[name]; !unread {
			m.checked.note(filepath.Join(dir, name), info)
		}
	}
	b, err := json.Marshal(mf)
	if err != nil {
		return mf, err
	}
	if err := writeSynced(filepath.Join(dir, name), b); err != nil {
		return mf, err
	}
	return mf, syncDir(dir)
}

// keep saves the machine's disk under disks/ and returns its id and size. The
// caller holds in.disk.
func (m *Manager) keep(ctx context.Context, in *instance, l *life) (id string, size int64, err error) {
	dir, err := in.newTemp()
	if err != nil {
		return "", 0, err
	}
	defer func() {
		if err != nil {
			m.removeAll(dir)
		}
	}()
	if err := m.hit("save"); err != nil {
		return "", 0, err
	}
	if err := l.machine.(runtime.DiskSaver).SaveDisk(ctx, dir); err != nil {
		return "", 0, l.orCause(err)
	}
	mf := manifest{Driver: l.driver.Name(), Created: now()}
	if base := l.base(); base != in.seedPath() {
		if err := os.Link(base, filepath.Join(dir, ownBase)); err != nil {
			return "", 0, storageError("saved disk of "+in.what(), err)
		}
		mf.Files = describedBase(base)
	}
	if err := m.hit("save-written"); err != nil {
		return "", 0, err
	}
	mf, err = m.writeManifest(dir, diskInfoFile, mf)
	if err != nil {
		return "", 0, storageError("saved disk of "+in.what(), err)
	}
	id = filepath.Base(dir)
	if err := os.Rename(dir, in.diskDir(id)); err != nil {
		return "", 0, storageError("saved disk of "+in.what(), err)
	}
	if err = syncDir(in.disks()); err == nil {
		err = m.hit("save-renamed")
	}
	if err != nil {
		m.removeAll(in.diskDir(id))
		return "", 0, storageError("saved disk of "+in.what(), err)
	}
	return id, mf.size(), nil
}

// describedBase is what the manifest beside an image of /workspace says of it, or
// nothing if there is none yet. To read all of it with every save would take as long
// as all of /workspace is large, and give damage a hash that fits.
func describedBase(path string) map[string]fileInfo {
	var mf manifest
	b, err := os.ReadFile(filepath.Join(filepath.Dir(path), diskInfoFile))
	if err != nil || json.Unmarshal(b, &mf) != nil {
		return nil
	}
	info, ok := mf.Files[ownBase]
	if !ok {
		return nil
	}
	return map[string]fileInfo{ownBase: info}
}

// rebase says that the record names the disk, which from now on has the image that
// the machine runs on: a disk that no record names may go. The caller holds in.disk.
func (in *instance) rebase(l *life, disk string) {
	if l.base() != in.seedPath() {
		l.setBase(filepath.Join(in.diskDir(disk), ownBase))
	}
}

// stateOf returns what a machine begins with from the disk, or from the baseline
// if id is "", after checking that it is whole.
func (m *Manager) stateOf(in *instance, id string) (state, error) {
	st := state{base: in.seedPath()}
	if _, err := m.verify(in.dir, seedInfoFile); err != nil {
		return st, api.Errorf(api.KindVerification, "the baseline of %s cannot be used: %w", in.what(), err).
			WithHint("it cannot be mended; take out what you need and create it anew: pyro workspace export %s . --output DIR", in.id)
	}
	if id == "" {
		return st, nil
	}
	st.disk = in.diskDir(id)
	mf, err := m.verify(st.disk, diskInfoFile)
	if err != nil {
		return st, api.Errorf(api.KindVerification, "a saved disk of %s cannot be used: %w", in.what(), err).
			WithHint("go back to another state: pyro workspace reset %s", in.id)
	}
	if st.driver = m.drivers.Named(mf.Driver); st.driver == nil {
		return st, api.Errorf(api.KindUnsupported, "a saved disk of %s is of the runtime %q, which this version does not have", in.what(), mf.Driver).
			WithHint("go back to another state: pyro workspace reset %s", in.id)
	}
	if _, own := mf.Files[ownBase]; own {
		st.base = filepath.Join(st.disk, ownBase)
	}
	return st, nil
}

// sweepDisks removes the disks that nothing refers to. The caller holds in.disk,
// so that none is on its way.
func (m *Manager) sweepDisks(in *instance) {
	in.mu.Lock()
	needed := map[string]bool{in.row.Disk: true, in.coming: true}
	for _, s := range in.snapshots {
		needed[s.Disk] = true
	}
	in.mu.Unlock()
	entries, err := os.ReadDir(in.disks())
	if err != nil {
		m.log.Error("saved disks cannot be listed", "workspace", in.id, "error", err)
	}
	for _, e := range entries {
		if !needed[e.Name()] {
			m.removeAll(in.diskDir(e.Name()))
		}
	}
	m.measure(in)
}

// measure notes what the workspace takes on the disk.
func (m *Manager) measure(in *instance) {
	size := folderSize(in.dir)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.size = size
}

// folderSize is the size of all files below dir together, each counted once: saved
// disks of a workspace that was moved share the image of its /workspace.
func folderSize(dir string) (size int64) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // it went away meanwhile
		}
		id, err := identify(path)
		if err != nil || seen[inode{id.dev, id.ino}] {
			return nil
		}
		seen[inode{id.dev, id.ino}] = true
		size += id.size
		return nil
	})
	return size
}
