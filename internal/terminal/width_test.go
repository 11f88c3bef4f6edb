package terminal

import "testing"

func TestColumns(t *testing.T) {
	for _, test := range []struct {
		text string
		want int
	}{
		{"aé~ß\u00a0\u00ad", 1},
		{"日本かカ한글Ａ、", 2},
		{"😀🚀👩🏽✅", 2},
		{"ｱ│█→①€", 1},
		{"\u0301\u200b\u200d\u200e\ufe0f\u20e3\u1160\u11a8\u3099\ufeff", 0},
		{"\x00\x1b\x7f\u0080\u009b\u2028\u2029", -1},
	} {
		for _, r := range test.text {
			if got := columns(r); got != test.want {
				t.Errorf("%U has %d columns, want %d", r, got, test.want)
			}
		}
	}
}

func TestLineDrawingIsWhole(t *testing.T) {
	if len(boxes) != '~'-'`'+1 {
		t.Fatalf("%d characters", len(boxes))
	}
	for r, want := range map[rune]rune{'j': '┘', 'q': '─', 'x': '│', '~': '·', 'A': 'A', '_': '_'} {
		if got := lineDrawing(r); got != want {
			t.Errorf("%c is %c, want %c", r, got, want)
		}
	}
}
