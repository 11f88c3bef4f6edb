package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Bounds of one deb822 file. Debian's longest real line is a Depends of 20 KiB,
// its longest field the SHA256 list of a Release file with 100 KiB.
const (
	maxControlLine  = 1 << 20
	maxControlField = 8 << 20
	maxParagraphs   = 1 << 20
)

// scanControl reads a file of paragraphs of "Name: value" fields, as described
// in deb822(5): Packages, Release, status and .sources files.
//
// It calls field for every field and end after every paragraph. Continuation
// lines are part of the value, each after a newline and without its first
// blank. Lines that begin with '#' are comments. name and value are valid
// during the call only. An error of either function ends the scan.
func scanControl(r io.Reader, field func(name, value []byte) error, end func() error) error {
	s := controlScanner{r: bufio.NewReaderSize(r, 64<<10), field: field, end: end}
	for {
		line, err := s.line()
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF && len(line) == 0 {
			return s.endParagraph()
		}
		s.lines++
		if err := s.take(bytes.TrimRight(line, "\r\n")); err != nil {
			return fmt.Errorf("line %d: %w", s.lines, err)
		}
	}
}

type controlScanner struct {
	r          *bufio.Reader
	field      func(name, value []byte) error
	end        func() error
	long       []byte // a line that outgrew the buffer of r
	name       []byte // of the field being read
	value      []byte
	open       bool // name and value hold a field
	inside     bool // the paragraph has a field
	lines      int
	paragraphs int
}

// line returns the next line with its line end. It is valid until the next call.
func (s *controlScanner) line() ([]byte, error) {
	line, err := s.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	s.long = s.long[:0]
	for {
		s.long = append(s.long, line...)
		if len(s.long) > maxControlLine {
			return nil, fmt.Errorf("line %d is longer than %d bytes", s.lines+1, maxControlLine)
		}
		if err != bufio.ErrBufferFull {
			return s.long, err
		}
		line, err = s.r.ReadSlice('\n')
	}
}

func (s *controlScanner) take(line []byte) error {
	switch {
	case len(bytes.TrimSpace(line)) == 0:
		return s.endParagraph()
	case line[0] == '#':
		return nil
	case line[0] == ' ' || line[0] == '\t':
		return s.continued(line[1:])
	}
	if err := s.endField(); err != nil {
		return err
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 {
		return fmt.Errorf("%q is neither a field nor the continuation of one", clip(line))
	}
	s.name = append(s.name[:0], name...)
	s.value = append(s.value[:0], bytes.TrimSpace(value)...)
	s.open, s.inside = true, true
	return nil
}

func (s *controlScanner) continued(rest []byte) error {
	if !s.open {
		return errors.New("a continuation without a field")
	}
	if len(s.value)+len(rest) > maxControlField {
		return fmt.Errorf("field %q is longer than %d bytes", clip(s.name), maxControlField)
	}
	s.value = append(append(s.value, '\n'), bytes.TrimRight(rest, " \t")...)
	return nil
}

func (s *controlScanner) endField() error {
	if !s.open {
		return nil
	}
	s.open = false
	return s.field(s.name, s.value)
}

func (s *controlScanner) endParagraph() error {
	if err := s.endField(); err != nil || !s.inside {
		return err
	}
	s.inside = false
	if s.paragraphs++; s.paragraphs > maxParagraphs {
		return fmt.Errorf("more than %d paragraphs", maxParagraphs)
	}
	return s.end()
}

// clip shortens hostile text for an error message.
func clip[T ~string | ~[]byte](s T) string {
	const most = 80
	if len(s) > most {
		return string(s[:most]) + "..."
	}
	return string(s)
}
