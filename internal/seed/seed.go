package seed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"pyro/api"
	"pyro/internal/tree"
)

// Mode is what a source is; the words are those of a workspace's seed.
type Mode string

// The modes of a source.
const (
	Directory    Mode = "directory"
	ArchivedTree Mode = "archive"
)

// The default limits, lower than those of images: this is one person's work.
const (
	DefaultEntries = 1_000_000
	DefaultBytes   = 16 << 30
)

// maxWarnings bounds the warnings kept; the others are counted.
const maxWarnings = 1000

// Options are the ways to read a source; the zero value is the usual one.
type Options struct {
	// Limits bounds what is read. Entries is 1,000,000 by default and Bytes
	// 16 GiB; the other fields have the defaults of package tree. Bytes counts
	// the holes of sparse files too.
	Limits tree.Limits
	// Root is the path in the guest where the tree's root stands: "/workspace"
	// for a tree of the workspace's own image. Paths are the guest's wherever
	// they are told or judged ("/").
	Root string
	// Sums remembers contents from one plan to the next. Read only notes in it
	// which files of the host it took, for [Sums.Learn].
	Sums *Sums
	// SpoolDir is where a plan keeps its copies, in a file without a name (the
	// host's folder for temporary files).
	SpoolDir string
	// Strict makes it an error when something of a folder is not copied truly:
	// left out, or changed while it was read.
	Strict bool
	// Only chooses files of a folder; nil is all. An archive is read whole.
	Only *Selection
}

func (o Options) limits() tree.Limits {
	return tree.Limits{
		Entries: cmp.Or(o.Limits.Entries, DefaultEntries),
		Bytes:   cmp.Or(o.Limits.Bytes, int64(DefaultBytes)),
		NameLen: cmp.Or(o.Limits.NameLen, tree.DefaultNameLen),
		Depth:   cmp.Or(o.Limits.Depth, tree.DefaultDepth),
	}
}

// Report says what was read.
type Report struct {
	Mode     Mode
	Entries  int   // names, the source's own folder not counted
	Files    int   // names of regular files
	Bytes    int64 // of file data, hard links counted once
	Warnings []Warning
	Dropped  int // warnings beyond the first 1,000
}

// Warning is about one entry that differs from its original.
type Warning struct {
	Path   string // relative to the source
	Reason string // a phrase: "is a socket"

	lost bool // content is missing or doubtful, which Strict does not forgive
}

func (w Warning) String() string { return fmt.Sprintf("%q %s", w.Path, w.Reason) }

// Source is a folder or an archive that is open for reading.
type Source struct {
	Mode Mode
	Path string // as the user gave it

	f     *os.File
	size  int64     // of an archive
	mtime time.Time // of an archive
}

// Open opens path, which may be a symbolic link to a folder or an archive. What
// is neither is an error of KindUsage that says what it is.
func Open(path string) (*Source, error) {
	// Opening for real would wait at a fifo and can set off a device.
	info, err := os.Stat(path)
	if err != nil {
		return nil, openError(path, err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, notSource(path, typeWords(info.Mode()))
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &Source{Mode: Directory, Path: path, f: f}
	if err := s.judge(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// judge finds out what was really opened.
func (s *Source) judge() error {
	info, err := s.f.Stat()
	if err != nil {
		return openError(s.Path, err)
	}
	if info.IsDir() {
		return nil
	}
	if !info.Mode().IsRegular() {
		return notSource(s.Path, typeWords(info.Mode()))
	}
	s.Mode, s.size, s.mtime = ArchivedTree, info.Size(), info.ModTime()
	_, err = sniffFile(s.Path, s.f)
	return err
}

// Close releases the source.
func (s *Source) Close() error { return s.f.Close() }

// Read puts the source into t below dest, an absolute path of the guest. Folders
// are merged with those that t has there; anything else in the way of a new name
// is replaced. A symbolic link or file of t on the way to dest is an error of
// KindUsage. A source is read once.
//
// Errors: KindUnsafe for what is refused, KindVerification for a damaged
// archive, KindStorage when the spool cannot take the data, KindCanceled when
// ctx ends; in all cases the names in t are unchanged.
func (s *Source) Read(ctx context.Context, t *tree.Tree, dest string, o Options) (Report, error) {
	st, err := newStage(t, t, dest, o)
	if err != nil {
		return Report{}, err
	}
	if err := s.fill(ctx, st, o); err != nil {
		return Report{}, err
	}
	if err := st.commit(); err != nil {
		return Report{}, err
	}
	if o.Sums != nil {
		o.Sums.remember(st.origins())
	}
	return st.report(s.Mode), nil
}

// fill reads the source into the stage and judges it.
func (s *Source) fill(ctx context.Context, st *stage, o Options) error {
	var err error
	if s.Mode == Directory {
		err = readFolder(ctx, s, st, o)
	} else {
		err = readArchive(ctx, s, st)
	}
	if err == nil {
		err = ctx.Err()
	}
	return canceled(ctx, s.Path, err)
}

// Folder reads the folder dir into t below dest. See [Source.Read].
func Folder(ctx context.Context, dir string, t *tree.Tree, dest string, o Options) (Report, error) {
	return openAndRead(ctx, Directory, dir, t, dest, o)
}

// Archive reads the archive at path into t below dest. What it is packed with is
// told from its bytes, not from its name. See [Source.Read].
func Archive(ctx context.Context, path string, t *tree.Tree, dest string, o Options) (Report, error) {
	return openAndRead(ctx, ArchivedTree, path, t, dest, o)
}

func openAndRead(ctx context.Context, want Mode, path string, t *tree.Tree, dest string, o Options) (Report, error) {
	s, err := Open(path)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	if s.Mode != want {
		return Report{}, api.Errorf(api.KindUsage, "%s is of type %s, not %s", path, s.Mode, want)
	}
	return s.Read(ctx, t, dest, o)
}

// canceled makes the one error out of the many that the end of ctx brings about.
func canceled(ctx context.Context, path string, err error) error {
	if err != nil && ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "reading %s was stopped: %w", path, context.Cause(ctx))
	}
	return err
}

// refused is the error about what makes a source unacceptable.
func refused(source, entry string, err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok { // the spool's, say
		return api.AsError(fmt.Errorf("%s: %q: %w", source, entry, err))
	}
	if entry == "" {
		return api.Errorf(api.KindUnsafe, "%s: the first entry is refused: %w", source, err).
			WithHint("nothing was copied; make or fetch the archive again")
	}
	return api.Errorf(api.KindUnsafe, "%s: %q is refused: %w", source, entry, err).
		WithHint("nothing was copied; leave it out, for example with: tar --exclude=%s -czf seed.tar.gz .", shellWord(entry))
}

// shellWord quotes s where a shell needs it.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (r == '/' || r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func openError(path string, err error) error {
	cause := err
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		cause = e.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return api.Errorf(api.KindNotFound, "there is no folder or archive %s", path).
			WithHint("check the path: ls -ld %s", shellWord(path))
	case errors.Is(err, fs.ErrPermission):
		return api.Errorf(api.KindPermission, "%s may not be read: %w", path, cause).
			WithHint("see who may: ls -ld %s", shellWord(path))
	}
	return api.Errorf(api.KindStorage, "%s cannot be opened: %w", path, cause)
}

func notSource(path, what string) error {
	return api.Errorf(api.KindUsage, "%s is %s, not a folder or an archive", path, what).
		WithHint("give a folder, or an archive made with: tar -czf seed.tar.gz -C FOLDER .")
}

// typeWords names the type of a file that is neither a folder nor regular.
func typeWords(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a fifo"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a file of an unknown type"
}

// sortWarnings brings warnings into the order of their paths and bounds them.
func sortWarnings(all []Warning) (kept []Warning, dropped int) {
	slices.SortFunc(all, func(a, b Warning) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Reason, b.Reason))
	})
	if len(all) > maxWarnings {
		return all[:maxWarnings:maxWarnings], len(all) - maxWarnings
	}
	return all, 0
}
