package environment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// cache is the folder that the package comment draws.
type cache struct{ dir string }

const (
	imageFile  = "rootfs.erofs"
	metaFile   = "meta.json"
	lockFile   = "lock"
	partSuffix = ".part" // debian.PartSuffix is the same, so that prune knows both
)

func (c *cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

func (c *cache) blobs() string   { return c.path("blobs", "sha256") }
func (c *cache) indexes() string { return c.path("indexes") }
func (c *cache) images() string  { return c.path("images", "sha256") }
func (c *cache) envs() string    { return c.path("envs") }
func (c *cache) locks() string   { return c.path("locks") }
func (c *cache) tmp() string     { return c.path("tmp") }

// image returns the folder of the image with that digest ("sha256:HEX").
func (c *cache) image(digest string) string {
	return filepath.Join(c.images(), strings.TrimPrefix(digest, "sha256:"))
}

// record returns the file that says what an environment is.
func (c *cache) record(name, arch string) string {
	return filepath.Join(c.envs(), escapeName(name)+"@"+arch+".json")
}

// make makes the folders. The whole cache is the user's own.
func (c *cache) make() error {
	for _, dir := range []string{c.dir, c.blobs(), c.indexes(), c.images(), c.envs(), c.kernels(), c.locks(), c.tmp()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return storageError(c.dir, err)
		}
	}
	return nil
}

// escapeName turns an environment's name into a file name, one to one: bytes
// that are not harmless become %XX, and a name too long for the file system ends
// in its digest.
func escapeName(name string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		switch ch := name[i]; {
		case 'a' <= ch && ch <= 'z', 'A' <= ch && ch <= 'Z', '0' <= ch && ch <= '9', ch == '-', ch == '_', ch == '.' && i > 0:
			b.WriteByte(ch)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[ch>>4])
			b.WriteByte(hexDigits[ch&15])
		}
	}
	if s := b.String(); len(s) <= 150 {
		return s
	}
	sum := sha256.Sum256([]byte(name))
	return b.String()[:80] + "~" + hex.EncodeToString(sum[:])
}

// writeJSON replaces a file by v, durably: written in the folder of a job, synced,
// renamed.
func writeJSON(scratch, path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(scratch, "json-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// hashFile returns "sha256:HEX" of a file.
func hashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &ctxReader{ctx, f}); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// ctxReader stops a long copy when the caller goes away.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// ctxWriter is ctxReader for writing.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}
