package apply

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"pyro/api"
)

// The modes that git knows.
const (
	gitFile       = 0o100644
	gitExecutable = 0o100755
	gitLink       = 0o120000
)

// section is a patch's part about one file.
type section struct {
	name           string
	file           *gitdiff.File
	added, deleted int // lines
}

// apply returns what becomes of before: nil if it is deleted.
func (s *section) apply(before *Content) (*Content, error) {
	after := &Content{Mode: 0o644}
	if before != nil {
		after.Link, after.Mode, after.UID, after.GID = before.Link, before.Mode, before.UID, before.GID
	}
	if err := s.modes(before, after); err != nil {
		return nil, err
	}
	var data []byte
	if before != nil {
		data = before.Data
	}
	var err error
	if after.Data, err = s.data(data); err != nil {
		return nil, err
	}
	if s.file.IsDelete {
		if len(after.Data) > 0 {
			return nil, conflict(s.name, "it is to be deleted and has more in it than the patch knows of")
		}
		return nil, nil
	}
	if after.Link && (len(after.Data) == 0 || len(after.Data) > 4095 || bytes.IndexByte(after.Data, 0) >= 0) {
		return nil, api.Errorf(api.KindUnsafe, "%s: %d bytes cannot be the target of a link", s.name, len(after.Data))
	}
	return after, nil
}

// modes compares the modes of a section with what is there, and sets the new one.
// Git tells links from files, and of a file only whether it can be executed; what
// else a mode has is kept.
func (s *section) modes(before, after *Content) error {
	for _, m := range []uint32{uint32(s.file.OldMode), uint32(s.file.NewMode)} {
		switch m {
		case 0, gitFile, gitExecutable, gitLink, 0o100664, 0o100600, 0o100700:
		default:
			return api.Errorf(api.KindUnsafe, "%s: the patch has the mode %o; files (100644, 100755) and links (120000) are possible", s.name, m)
		}
	}
	old, now := uint32(s.file.OldMode), uint32(s.file.NewMode)
	if before != nil && old != 0 && (old == gitLink) != before.Link {
		return conflict(s.name, "the patch is for "+typeName(old == gitLink)+", and "+typeName(before.Link)+" is there")
	}
	if now == 0 {
		return nil
	}
	if before != nil && (now == gitLink) != before.Link {
		return api.Errorf(api.KindUsage, "%s: a patch cannot make %s of %s but by deleting it first", s.name, typeName(now == gitLink), typeName(before.Link))
	}
	after.Link = now == gitLink
	switch {
	case after.Link:
		after.Mode = 0o777
	case now&0o100 != 0:
		after.Mode |= after.Mode & 0o444 >> 2
		after.Mode |= 0o100
	default:
		after.Mode &^= 0o111
	}
	return nil
}

func typeName(link bool) string {
	if link {
		return "a symbolic link"
	}
	return "a file"
}

// data applies the hunks, or the binary patch.
func (s *section) data(before []byte) ([]byte, error) {
	switch f := s.file; {
	case f.BinaryFragment != nil:
		return s.binary(before)
	case f.IsBinary:
		return nil, api.Errorf(api.KindUsage, "%s: the patch says that a binary file differs, but not how", s.name).
			WithHint("make it with git diff --binary; or write the file: pyro workspace file write")
	case len(f.TextFragments) == 0:
		return before, nil
	}
	return s.text(before)
}

func (s *section) binary(before []byte) ([]byte, error) {
	if size := s.file.BinaryFragment.Size; size > maxFile {
		return nil, api.Errorf(api.KindUsage, "%s: the binary patch has %d bytes, at most %d are possible", s.name, size, maxFile)
	}
	if err := s.checkBlob(before); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := gitdiff.Apply(&out, bytes.NewReader(before), s.file, gitdiff.WithMaxBinaryFragmentBytes(maxFile)); err != nil {
		return nil, conflict(s.name, fmt.Sprintf("the binary patch does not fit (%v)", err))
	}
	if s.file.IsDelete {
		return nil, nil
	}
	return out.Bytes(), nil
}

// checkBlob compares what is there with the hash that the patch is for: a binary
// patch has no lines around its changes.
func (s *section) checkBlob(before []byte) error {
	want := s.file.OldOIDPrefix
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(before))
	h.Write(before)
	switch {
	case s.file.IsNew && len(before) == 0:
		return nil
	case len(want) != hex.EncodedLen(sha1.Size):
		return api.Errorf(api.KindUsage, "%s: the binary patch does not say in full which content it is for", s.name).
			WithHint("make it with git diff --binary")
	case want != hex.EncodeToString(h.Sum(nil)):
		return conflict(s.name, "the binary patch is for another content")
	}
	return nil
}
