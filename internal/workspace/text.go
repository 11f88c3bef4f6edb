package workspace

import (
	"encoding/json"
	"io"
	"os"
	"strings"
)

// validText makes text that JSON can hold.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeSynced(path, b)
}

func storageErrorOrNil(what string, err error) error {
	if err == nil {
		return nil
	}
	return storageError(what, err)
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// countingWriter counts what passes to w, which may be nil.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.w == nil {
		return len(p), nil
	}
	return c.w.Write(p)
}
