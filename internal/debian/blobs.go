package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"pyro/api"
)

// Blobs is where fetched files are kept. Each is named by what it holds, so any
// number of builds may share it and any file may be deleted at any time.
type Blobs interface {
	// Path returns where the file with that SHA-256 (lower-case hexadecimal) is
	// or will be. The folder must exist. Path(h)+PartSuffix is used as well.
	Path(sha256 string) string
}

// CorruptBlobError says that a cached file does not hold what its name says.
// [Build] repairs that by itself; it is seen only if the second copy is
// damaged too.
type CorruptBlobError struct {
	Path   string
	SHA256 string // what it should be
}

func (e *CorruptBlobError) Error() string {
	return fmt.Sprintf("the cached file %s does not match its SHA-256", e.Path)
}

// remote is a file of the archive that can be fetched into the cache.
type remote struct {
	url    string
	size   int64
	sha256 string
}

func (p *Package) remote() remote { return remote{p.URL, p.Size, p.SHA256} }

// store fetches files into blobs.
type store struct {
	blobs Blobs
	fetch *Fetcher
}

// ensure fetches f unless it is in the cache. A cached file of the wrong size
// is fetched anew.
func (s store) ensure(ctx context.Context, f remote, progress func(delta int64)) error {
	path := s.blobs.Path(f.sha256)
	switch st, err := os.Stat(path); {
	case err == nil && st.Size() == f.size:
		if progress != nil {
			progress(f.size)
		}
		return nil
	case err == nil:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storageError(path, err)
		}
	}
	return s.fetch.File(ctx, Download{URL: f.url, Size: f.size, SHA256: f.sha256, Path: path, Unsynced: true, Progress: progress})
}

// open returns the verified content of f, which it fetches if need be. A damaged
// file of the cache is deleted and fetched again, once.
func (s store) open(ctx context.Context, f remote) (*os.File, error) {
	for repaired := false; ; repaired = true {
		if err := s.ensure(ctx, f, nil); err != nil {
			return nil, err
		}
		file, err := openBlob(s.blobs.Path(f.sha256), f)
		corrupt, damaged := errors.AsType[*CorruptBlobError](err)
		gone := errors.Is(err, fs.ErrNotExist) // somebody pruned the cache meanwhile
		switch {
		case err == nil:
			return file, nil
		case repaired && damaged:
			return nil, api.Errorf(api.KindVerification, "%w, and neither did a fresh copy", err).
				WithHint("the host's disk or memory may be failing; check dmesg")
		case repaired || !damaged && !gone:
			return nil, storageError(s.blobs.Path(f.sha256), err)
		case damaged:
			if err := os.Remove(corrupt.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, storageError(corrupt.Path, err)
			}
		}
	}
}

// openBlob opens a cached file and reads it once to see that it is whole, before
// anything of it is believed.
func openBlob(path string, want remote) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, want.size+1))
	if err == nil && (n != want.size || hex.EncodeToString(h.Sum(nil)) != want.sha256) {
		err = &CorruptBlobError{path, want.sha256}
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
