package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pyro/api"
)

// PartSuffix marks the file beside a download that holds what has arrived. It
// survives a failed attempt, which the next one then continues.
const PartSuffix = ".part"

// Download is a file to be fetched whose content is known beforehand.
type Download struct {
	URL    string
	Size   int64  // in bytes, exactly
	SHA256 string // lower-case hexadecimal
	// Path is where the file comes to be. Its folder must exist. While it is
	// incomplete it is Path + PartSuffix, locked with flock(2) by who fetches it.
	Path string
	// Unsynced leaves out the fsync before the file gets its name. It is for
	// files that are hashed whenever they are read, as those of a cache of blobs
	// are: a crash of the host may then leave a damaged file behind.
	Unsynced bool
	// Progress, if set, is called with the number of bytes that arrived. A
	// negative number takes back bytes which have to be fetched once more.
	Progress func(delta int64)
}

// File brings d home: downloaded, checked, synced and renamed to d.Path. It
// continues what an earlier attempt left behind if the server honours Range. A
// file that exists at d.Path is taken as it is. At most d.Size bytes are taken
// from the server, and content that does not match is removed and refused with
// KindVerification.
func (f *Fetcher) File(ctx context.Context, d Download) error {
	part, err := openPart(ctx, d.Path)
	if err != nil || part == nil {
		return err
	}
	defer part.Close()
	t := transfer{Download: d, f: part, hash: sha256.New()}
	if err := t.resume(); err != nil {
		return err
	}
	best := t.have
	err = f.retry(ctx, d.URL, func() (bool, error) {
		err := t.attempt(ctx, f)
		progress := t.have > best
		best = max(best, t.have)
		return progress, err
	})
	if err != nil {
		if errors.Is(err, &api.Error{Kind: api.KindVerification}) {
			os.Remove(part.Name())
		}
		return err
	}
	return t.publish()
}

// transfer is the state of a Download between attempts.
type transfer struct {
	Download
	f       *os.File
	hash    hash.Hash
	have    int64 // bytes in f, all of them in hash
	resumed bool  // the first bytes are of an earlier program or attempt
}

// resume takes over the bytes which the part file holds already.
func (t *transfer) resume() error {
	n, err := io.Copy(t.hash, io.LimitReader(t.f, t.Size+1))
	if err != nil {
		return t.storage(err)
	}
	t.have, t.resumed = n, n > 0
	t.progress(n)
	if n > t.Size {
		return t.restart()
	}
	return nil
}

// restart forgets everything that has arrived.
func (t *transfer) restart() error {
	t.progress(-t.have)
	t.hash.Reset()
	t.have, t.resumed = 0, false
	if err := t.f.Truncate(0); err != nil {
		return t.storage(err)
	}
	return nil
}

func (t *transfer) progress(delta int64) {
	if t.Progress != nil && delta != 0 {
		t.Progress(delta)
	}
}

// attempt fetches what is missing and checks the whole.
func (t *transfer) attempt(ctx context.Context, f *Fetcher) error {
	t.resumed = t.resumed || t.have > 0
	if t.have < t.Size {
		if err := f.get(ctx, t.URL, t.have, t.receive); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(t.hash.Sum(nil)); got != t.SHA256 {
		if t.resumed { // what was there before may be the wrong part
			if err := t.restart(); err != nil {
				return err
			}
			return t.attempt(ctx, f)
		}
		return t.refuse("has the SHA-256 %s instead of %s", got, t.SHA256)
	}
	return nil
}

// receive appends the body of one answer.
func (t *transfer) receive(resp *http.Response, body io.Reader) error {
	switch want := fmt.Sprintf("bytes %d-%d/%d", t.have, t.Size-1, t.Size); {
	case resp.StatusCode == http.StatusPartialContent && t.have > 0 && resp.Header.Get("Content-Range") == want:
	case resp.StatusCode == http.StatusOK:
		if resp.ContentLength >= 0 && resp.ContentLength != t.Size {
			return t.refuse("has %d bytes instead of %d", resp.ContentLength, t.Size)
		}
		if err := t.restart(); err != nil {
			return err
		}
	case t.have > 0 && (resp.StatusCode == http.StatusPartialContent || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable):
		if err := t.restart(); err != nil {
			return err
		}
		return fmt.Errorf("the server sent a range that was not asked for")
	default:
		return &statusError{resp.StatusCode, resp.Status}
	}
	return t.store(body)
}

func (t *transfer) store(body io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, readErr := body.Read(buf)
		if int64(n) > t.Size-t.have {
			return t.refuse("has more than %d bytes", t.Size)
		}
		if n > 0 {
			if _, err := t.f.WriteAt(buf[:n], t.have); err != nil {
				return t.storage(err)
			}
			t.hash.Write(buf[:n])
			t.have += int64(n)
			t.progress(int64(n))
		}
		switch {
		case readErr == io.EOF && t.have < t.Size:
			return io.ErrUnexpectedEOF
		case readErr == io.EOF:
			return nil
		case readErr != nil:
			return readErr
		}
	}
}

// publish gives the complete file its name.
func (t *transfer) publish() error {
	if !t.Unsynced {
		if err := t.f.Sync(); err != nil {
			return t.storage(err)
		}
	}
	if err := os.Rename(t.f.Name(), t.Path); err != nil {
		return t.storage(err)
	}
	return nil
}

func (t *transfer) refuse(format string, args ...any) error {
	return api.Errorf(api.KindVerification, "%s %s", t.URL, fmt.Sprintf(format, args...)).
		WithHint("somebody on the way may have altered it, or the mirror is being updated: try again later or use another mirror")
}

func (t *transfer) storage(err error) error { return storageError(t.Path, err) }

func storageError(path string, err error) error {
	return api.Errorf(api.KindStorage, "%s cannot be read or written: %w", path, err).
		WithHint("check the room on the disk with df %s", filepath.Dir(path))
}

// openPart opens and locks the part file of path. It returns nil if path exists
// by then, because somebody else has fetched it meanwhile.
func openPart(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path+PartSuffix, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, storageError(path, err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil && sameFile(f):
			if _, err := os.Stat(path); err == nil {
				os.Remove(f.Name())
				f.Close()
				return nil, nil
			}
			return f, nil
		case err != nil && err != unix.EWOULDBLOCK && err != unix.EINTR:
			f.Close()
			return nil, storageError(path, err)
		}
		f.Close() // somebody else fetches it, or just finished: look again
		select {
		case <-ctx.Done():
			return nil, api.Errorf(api.KindCanceled, "waiting for another download of %s was canceled: %w", path, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sameFile reports whether f still has its name.
func sameFile(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(f.Name())
	return errA == nil && errB == nil && os.SameFile(a, b)
}
