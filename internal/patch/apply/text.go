package apply

import (
	"bytes"
	"fmt"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"pyro/api"
)

// maxCompared bounds the lines that are compared in the search for the places of
// one file's hunks. A patch that fits needs a few for each of its lines.
const maxCompared = 50_000_000

// text applies the hunks of a section.
func (s *section) text(before []byte) ([]byte, error) {
	im := &image{lines: bytes.SplitAfter(before, []byte{'\n'}), left: maxCompared}
	if n := len(im.lines); len(im.lines[n-1]) == 0 {
		im.lines = im.lines[:n-1]
	}
	var out bytes.Buffer
	next, drift := 0, 0 // the first line that is not used yet; how far the last hunk was from where it should be
	for i, f := range s.file.TextFragments {
		h, err := newHunk(f)
		if err != nil {
			return nil, api.Errorf(api.KindUsage, "%s: hunk %d (%s) cannot be read: %w", s.name, i+1, f.Header(), err)
		}
		at, ok := im.find(h, next, h.start+drift)
		if !ok {
			return nil, s.misfit(i, f, im, h, next)
		}
		for _, line := range im.lines[next:at] {
			out.Write(line)
		}
		for _, line := range h.after {
			out.WriteString(line)
		}
		next, drift = at+len(h.before), at-h.start
		s.added, s.deleted = s.added+int(f.LinesAdded), s.deleted+int(f.LinesDeleted)
		if int64(out.Len()) > maxFile {
			return nil, api.Errorf(api.KindUsage, "%s: it would have more than %d bytes", s.name, maxFile)
		}
	}
	for _, line := range im.lines[next:] {
		out.Write(line)
	}
	return out.Bytes(), nil
}

// misfit is the error of a hunk that has no place.
func (s *section) misfit(i int, f *gitdiff.TextFragment, im *image, h *hunk, next int) error {
	if im.left < 0 {
		return api.Errorf(api.KindUsage, "%s: the place of hunk %d takes too long to find", s.name, i+1).
			WithHint("give the hunks the numbers of the lines that they are for")
	}
	why := "its lines are not in the file"
	if line := im.missing(h, next); line != "" {
		why = fmt.Sprintf("%.80q is not there", line)
	} else if h.first || h.last {
		why = "its lines are not at the " + map[bool]string{true: "beginning", false: "end"}[h.first] + " of the file"
	}
	return conflict(s.name, fmt.Sprintf("hunk %d (%s) does not apply: %s", i+1, f.Header(), why))
}

// hunk is a hunk as the lines that it takes away and brings.
type hunk struct {
	before, after []string
	start         int  // index of the first line of before
	first, last   bool // it belongs to the beginning or the end of the file
}

func newHunk(f *gitdiff.TextFragment) (*hunk, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	h := &hunk{first: f.OldPosition <= 1, start: int(max(0, f.OldPosition-1)), last: f.TrailingContext == 0}
	for _, line := range f.Lines {
		if line.Old() {
			h.before = append(h.before, line.Line)
		}
		if line.New() {
			h.after = append(h.after, line.Line)
		}
	}
	for _, lines := range [][]string{h.before, h.after} {
		for i, line := range lines {
			if open := line == "" || line[len(line)-1] != '\n'; open && i < len(lines)-1 {
				return nil, fmt.Errorf("a line in the middle has no end")
			} else if open {
				h.last = true
			}
		}
	}
	return h, nil
}

// image is a file as lines with their ends.
type image struct {
	lines [][]byte
	left  int // comparisons; negative when there were too many
}

// find returns the place of a hunk that is the nearest to want, and not before
// next.
func (im *image) find(h *hunk, next, want int) (int, bool) {
	last := len(im.lines) - len(h.before)
	switch {
	case last < next:
		return 0, false
	case h.first && h.last:
		return 0, last == 0 && im.matches(h, 0)
	case h.first:
		return 0, next == 0 && im.matches(h, 0)
	case h.last:
		return last, im.matches(h, last)
	}
	want = min(max(want, next), last)
	for d := 0; want-d >= next || want+d <= last; d++ {
		if want+d <= last && im.matches(h, want+d) {
			return want + d, true
		}
		if d > 0 && want-d >= next && im.matches(h, want-d) {
			return want - d, true
		}
		if im.left < 0 {
			return 0, false
		}
	}
	return 0, false
}

func (im *image) matches(h *hunk, at int) bool {
	for i, line := range h.before {
		if im.left--; string(im.lines[at+i]) != line {
			return false
		}
	}
	return true
}

// missing returns a line that the hunk needs and that the rest of the file does
// not have, if there is one.
func (im *image) missing(h *hunk, next int) string {
	have := map[string]bool{}
	for _, line := range im.lines[min(next, len(im.lines)):] {
		have[string(line)] = true
	}
	for _, line := range h.before {
		if !have[line] {
			return line
		}
	}
	return ""
}
