package patch_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"pyro/internal/patch"
)

// FuzzTexts patches one content into another.
func FuzzTexts(f *testing.F) {
	var many, other strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "line %d\n", i)
		fmt.Fprintf(&other, "line %d\n", i+i%7/6)
	}
	for _, s := range [][2]string{
		{"", "a"},
		{"a", ""},
		{"a", "a\n"},
		{"a\n", "a"},
		{"a\nb", "b"},
		{"b", "a\nb"},
		{"\n\n\n", "\n\n"},
		{"a\r\n", "a\n"},
		{"a\nb\nc\nd\ne\nf\ng\nh\ni\n", "A\nb\nc\nd\ne\nf\ng\nh\nI\n"},
		{many.String(), other.String()},
		{strings.Repeat("a\nb\n", 80), strings.Repeat("b\na\na\n", 60)},
		{"\xff\xfe", "\xfe\n"},
		{"a\x00", "b\x00"},
	} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		d := compare(t, build(t, file("f", string(before))), build(t, file("f", string(after))), patch.Options{})
		switch binary := bytes.IndexByte(before, 0) >= 0 || bytes.IndexByte(after, 0) >= 0; {
		case bytes.Equal(before, after):
			if len(d.Entries) != 0 {
				t.Fatalf("equal contents: %+v", d.Entries)
			}
			return
		case binary && d.Patch == "":
			return
		}
		files, _, err := gitdiff.Parse(strings.NewReader(d.Patch))
		if err != nil || len(files) != 1 {
			t.Fatalf("%d files, %v in\n%s", len(files), err, d.Patch)
		}
		var got bytes.Buffer
		if err := gitdiff.Apply(&got, bytes.NewReader(before), files[0]); err != nil {
			t.Fatalf("%v\n%s", err, d.Patch)
		}
		if !bytes.Equal(got.Bytes(), after) {
			t.Fatalf("the patch makes %q of %q, not %q:\n%s", got.Bytes(), before, after, d.Patch)
		}
		for _, h := range files[0].TextFragments {
			if h.LeadingContext > 3 || h.TrailingContext > 3 {
				t.Errorf("more than three lines around a change:\n%s", d.Patch)
			}
		}
	})
}
