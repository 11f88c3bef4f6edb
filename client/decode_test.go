package client

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDecodeIsBounded(t *testing.T) {
	const doc = `{"a": "0123456789"}`
	for limit, want := range map[int64]error{
		int64(len(doc)): nil, int64(len(doc)) - 1: errTooLarge, 1: errTooLarge, 1 << 20: nil,
	} {
		var got map[string]string
		if err := decode(strings.NewReader(doc), limit, &got); !errors.Is(err, want) || want == nil && got["a"] != "0123456789" {
			t.Errorf("limit %d: got %v, %v, want %v", limit, got, err, want)
		}
	}
	if err := decode(strings.NewReader(doc[:5]), 100, new(any)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that breaks off: %v", err)
	}
}
