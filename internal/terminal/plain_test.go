package terminal_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/internal/terminal"
)

// small is a screen of 10 columns and 4 rows, on which much happens at the edges.
var small = terminal.Options{Cols: 10, Rows: 4}

func TestPlain(t *testing.T) {
	for _, test := range []struct{ name, raw, want string }{
		{"nothing", "", ""},
		{"text", "hello", "hello"},
		{"lines", "a\r\nb\r\n", "a\nb\n"},
		{"an empty line", "\r\n", "\n"},
		{"blanks at the end of lines", "a  \r\nb \r\n  c", "a\nb\n  c"},
		{"scroll-back", "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n", "1\n2\n3\n4\n5\n6\n"},
		{"a line feed goes down only", "ab\ncd", "ab\n  cd"},
		{"form feed and vertical tab too", "a\fb\vc", "a\n b\n  c"},

		{"carriage return", "hello\rJ", "Jello"},
		{"backspace", "abc\b\bX", "aXc"},
		{"backspace stops at the margin", "a\b\b\bX", "X"},
		{"tab", "a\tb", "a       b"},
		{"tab stops at the margin", "a\t\t\tb", "a        b"},
		{"tab back and forth", "\x1b[9Gx\x1b[Zy\x1b[2Zz\x1b[Iw", "z       w"},
		{"bell, null and delete", "a\a\x00\x7fb", "ab"},

		{"wrapped line", "0123456789abc\r\nx", "0123456789abc\nx"},
		{"full line", "0123456789\r\nx", "0123456789\nx"},
		{"a full line is not wrapped yet", "0123456789\rX", "X123456789"},
		{"back from a full line", "0123456789\bX", "01234567X9"},
		{"back over a wrap", "0123456789ab\x1b[A\rX", "X123456789ab"},
		{"blanks at a wrap", "01234567   x", "01234567   x"},
		{"wrapped line that scrolled off", "0123456789abc\r\n1\r\n2\r\n3\r\n4\r\n", "0123456789abc\n1\n2\n3\n4\n"},
		{"no wrap", "\x1b[?7l0123456789abc\x1b[?7h", "012345678c"},
		{"erasing a full line's end erases nothing", "0123456789\x1b[Kab", "0123456789ab"},
		{"the second line of two erased", "0123456789ab\r\x1b[Kc", "0123456789\nc"},

		{"colours", "\x1b[1;31mred\x1b[0m \x1b[38;5;12m\x1b[38:2::1:2:3mx\x1b[m", "red x"},
		{"title", "\x1b]0;title\aa\x1b]2;title\x1b\\b\x1bktitle\x1b\\c", "abc"},
		{"link", "\x1b]8;;http://localhost/\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"marks of shell integration", "\x1b]133;A\a$ \x1b]133;B\als\r\n\x1b]133;D;0\a", "$ ls\n"},
		{"image", "\x1bPq#0;2;0;0;0#0~~\x1b\\a\x1b_Gf=24;AAAA\x1b\\b", "ab"},
		{"modes", "\x1b[?2004h\x1b[?25l\x1b[?1;9h\x1b=\x1b>$ \x1b[?2004l", "$"},
		{"questions", "\x1b[c\x1b[>c\x1b[6n\x1b[?u\x1b[>4;2m\x1bZok", "ok"},
		{"a control character in a sequence", "ab\x1b[\r1Cx", "ax"},
		{"a sequence given up", "a\x1b[31\x18b\x1b]0;t\x1ac", "abc"},
		{"a sequence broken off by another", "a\x1b[3\x1b[1Db", "b"},
		{"a sequence broken off by text", "a\x1b[3é", "aé"},
		{"a string ends only as it may", "\x1bPa\ab\r\nc\x1b\\d", "d"},
		{"unknown sequences", "\x1b#8\x1b%G\x1b F\x1b[1 q\x1b[1$w\x1b[99zx", "x"},
		{"soft reset", "\x1b[?7l\x1b[4h\x1b[!pabc\rX", "Xbc"},
		{"a parameter in the wrong place", "ab\x1b[1?Dc\x1b[1!1Dd", "abcd"},

		{"left and right", "abc\x1b[2DX\x1b[3Cy", "aXc  y"},
		{"to a column", "abc\x1b[Gx\x1b[5Gy\x1b[2`z\x1b[2ay", "xzc y"},
		{"far to the right", "\x1b[999999999999CX", "         X"},
		{"far down", "a\x1b[999;999Hb", "a\n\n\n         b"},
		{"far up and left", "\r\n\x1b[99A\x1b[99Dx", "x"},
		{"up", "one\r\ntwo\x1b[A\rONE\x1b[B\rTWO", "ONE\nTWO"},
		{"next and previous line", "a\r\nb\x1b[Fx\x1b[Ey", "x\ny"},
		{"to a line", "a\x1b[3db\x1b[1dc\x1b[ed", "a c\n   d\n b"},
		{"save and restore", "ab\x1b7\r\ncd\x1b8X\x1b[1Gq\x1b[sYY\x1b[uz", "qzY\ncd"},
		{"index and reverse index", "a\x1bDb\x1bEc\x1bMd", "a\n d\nc"},

		{"erase to the end of the line", "hello\r\x1b[3C\x1b[K", "hel"},
		{"erase to the beginning", "hello\x1b[3D\x1b[1K", "   lo"},
		{"erase the line", "hello\x1b[2Kx", "     x"},
		{"erase unwritten columns", "ab\x1b[5Gx\x1b[9G\x1b[1K\x1b[Ky", "        y"},
		{"erase characters", "hello\r\x1b[C\x1b[2X", "h  lo"},
		{"delete characters", "hello\r\x1b[2Px", "xlo"},
		{"delete more than there are", "hello\r\x1b[C\x1b[99Px", "hx"},
		{"insert characters", "hello\r\x1b[2@x", "x hello"},
		{"insert over the edge", "0123456789\r\x1b[4@x", "x   012345"},
		{"insert mode", "hello\r\x1b[4hxy\x1b[4lz", "xyzello"},
		{"selective erase", "abc\x1b[?1Kd\x1b[?2J", ""},
		{"repeat", "ab\x1b[3bc", "abbbbc"},
		{"repeat to the end of the line", "ab\x1b[1000000bc", "abbbbbbbbbc"},
		{"repeat nothing", "\x1b[5bx", "x"},

		{"erase below", "a\r\nb\r\nc\x1b[2;1H\x1b[J", "a\n"},
		{"erase above", "a\r\nb\r\nccc\x1b[2D\x1b[1J", "\n\n  c"},
		{"erase the screen", "a\r\nb\x1b[2Jc", "\n c"},
		{"clear", "1\r\n2\r\n3\r\n4\r\n5\r\n\x1b[H\x1b[2J\x1b[3J$ ", "$"},
		{"erasing the screen leaves the scroll-back", "1\r\n2\r\n3\r\n4\r\n5\r\n\x1b[H\x1b[2J$ ", "1\n2\n$"},
		{"full reset", "a\r\nb\x1b(0\x1bcq", "q"},
		{"insert lines", "a\r\nb\r\nc\x1b[2H\x1b[Lx", "a\nx\nb\nc"},
		{"delete lines", "a\r\nb\r\nc\x1b[1H\x1b[Mx", "x\nc"},
		{"delete all lines", "a\r\nb\r\nc\x1b[2H\x1b[99Mx", "a\nx"},
		{"insert below a wrapped line", "0123456789ab\r\x1b[Lx", "0123456789\nx\nab"},
		{"scroll up", "a\r\nb\x1b[S", "a\nb\n"},
		{"scroll down", "a\r\nb\x1b[T", "\na\nb"},
		{"five parameters of T are about the mouse", "a\x1b[1;1;1;1;1Tb", "ab"},

		{"a region scrolls alone", "\x1b[2;3ra\r\n\x1b[2H1\r\n2\r\n3\r\n4", "a\n3\n4"},
		{"a region at the top feeds the scroll-back", "\x1b[4;1Hbar\x1b[1;3r1\r\n2\r\n3\r\n4\r\n5", "1\n2\n3\n4\n5\nbar"},
		{"below a region", "\x1b[1;2r\x1b[4;1Hx\r\ny", "y"},
		{"up and down stay in a region", "\x1b[2;3r\x1b[2Hx\x1b[9Ay\x1b[9Bz\x1b[Hw", "w\nxy\n  z"},
		{"a region below the screen", "\x1b[1;99r\x1b[H\x1bMx", "x"},
		{"a region of nothing", "ab\x1b[3;2rc\x1b[9;9rd", "abcd"},
		{"reverse index scrolls", "a\r\nb\x1b[H\x1bMx", "x\na\nb"},

		{"line drawing", "\x1b(0lqk\x1b(B lqk \x1b)0\x0ex\x0fx", "┌─┐ lqk │x"},
		{"not UTF-8", "a\xffb\xc3(\xe2\x82", "a�b�("},
		{"C1 characters", "a\u009b31mb\u0085c\u2028d", "a31mbcd"},
		{"accents", "cafe\u0301 \u0301x", "cafe\u0301 \u0301x"},
		{"an accent on a full line", "012345678e\u0301x", "012345678e\u0301x"},
		{"an accent on nothing", "\u0301x", "x"},
		{"an accent on a place moved to", "\x1b[3G\u0301x", "  \u0301x"},
		{"wide characters", "日本語\rx", "x 本語"},
		{"half of one overwritten", "日本語\x1b[4Gx", "日 x語"},
		{"wide over a wrap", "012345678日x", "012345678日x"},
		{"wide at the edge without a wrap", "\x1b[?7l0123456789日", "01234567日"},
		{"half of one deleted", "日本語\x1b[2G\x1b[P", " 本語"},
		{"half of one erased", "日本\x1b[2G\x1b[K", ""},
		{"wide pushed over the edge", "01234567日\r\x1b[@", " 01234567"},
		{"half of its last overwritten", "👩\u200d👩\u200d👧\r\x1b[6Gx", "👩\u200d👩\u200d x"},
		{"family of three characters", "👩\u200d👩\u200d👧x", "👩\u200d👩\u200d👧x"},
		{"repeat a wide one", "日\x1b[99b", "日日日日日"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := terminal.Plain([]byte(test.raw), small)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.raw, diff)
			}
		})
	}
}

func TestAlternateScreen(t *testing.T) {
	for _, test := range []struct{ name, raw, want string }{
		{"leaves nothing", "$ vim\r\n\x1b[?1049h\x1b[2J\x1b[Hfile\r\n~\x1b[?1049l$ ", "$ vim\n$"},
		{"shows while it is there", "$ vim\r\n\x1b[?1049h\x1b[Hfile\r\n~\r\n~\x1b[4Hstatus\x1b[2H", "$ vim\nfile\n~\n~\nstatus"},
		{"after a line without an end", "a\x1b[?1049h\x1b[Hb", "a\nb"},
		{"does not feed the scroll-back", "a\x1b[?1049h\r\n1\r\n2\r\n3\r\n4\r\n5\r\n\x1b[?1049lb", "ab"},
		{"is empty at each beginning", "\x1b[?1049hxxx\x1b[?1049l\x1b[?1049h\x1b[2Hy", "\ny"},
		{"of older kinds", "ab\x1b[?47h\rx\x1b[?47l\x1b[?1047hy\x1b[?1047lc", "abc"},
		{"with its own region", "\x1b[?1049h\x1b[1;2r\x1b[?1049l1\r\n2\r\n3\r\n4", "1\n2\n3\n4"},
		{"twice", "a\x1b[?1049h\x1b[?1049hb\x1b[?1049l\x1b[?1049lc", "ac"},
		{"ended by a full reset", "a\x1b[?1049hb\x1bcc", "c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := terminal.Plain([]byte(test.raw), small)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.raw, diff)
			}
		})
	}
}

// TestRest: what is not complete has no effect and is given back.
func TestRest(t *testing.T) {
	for _, test := range []struct {
		raw, want string
		rest      int
	}{
		{"abc", "abc", 0},
		{"abc\x1b", "abc", 1},
		{"abc\x1b[31", "abc", 4},
		{"abc\x1b(", "abc", 2},
		{"abc\x1b]0;tit", "abc", 7},
		{"abc\x1b]0;tit\x1b", "abc", 1}, // the title is over
		{"abc\xe6\x97", "abc", 2},
		{"\xe6\x97", "", 2},
		{"\x1b]0;" + strings.Repeat("x", 4092), "", 4096},
		{"\x1b]0;" + strings.Repeat("x", 4093), "", 0},
		{"\x1b]0;" + strings.Repeat("x", 4093) + "\x1b", "", 1},
	} {
		text, rest := terminal.Plain([]byte(test.raw), small)
		if text != test.want || rest != test.rest {
			t.Errorf("Plain(%.20q) = %q, %d; want %q, %d", test.raw, text, rest, test.want, test.rest)
		}
	}
}

// TestEndlessString: output is not swallowed for ever.
func TestEndlessString(t *testing.T) {
	text, rest := terminal.Plain([]byte("a\x1bP"+strings.Repeat("x", 1<<20)+"\r\nb"), small)
	if !strings.HasSuffix(text, "\nb") || rest != 0 {
		t.Errorf("%.30q, %d", text, rest)
	}
}

func TestBefore(t *testing.T) {
	for _, test := range []struct{ name, before, raw, want string }{
		{"a line goes on", "1\r\n$ ", "ls\r\nfile\r\n", "$ ls\nfile\n"},
		{"a line that wrapped goes on", "1\r\n0123456789ab", "c", "0123456789abc"},
		{"lines scroll", "1\r\n2\r\n3\r\n4", "\r\n5\r\n6", "4\n5\n6"},
		{"nothing new", "1\r\n", "", ""},
		{"a line above changes", "1\r\n2\r\n3\r\n", "\x1b[2A\rtwo", "two\n3"},
		{"a sequence goes on", "\x1b[3", "1mred", "red"},
		{"a string goes on", "\x1b]0;tit", "le\aa", "a"},
		{"a character goes on", "\xe6\x97", "\xa5x", "日x"},
		{"a program has the screen", "\x1b[?1049h\x1b[Hfile", "\x1b[2H~", "file\n~"},
		{"a program leaves the screen", "$ vim\r\n\x1b[?1049h\x1b[Hfile", "\x1b[2H~\x1b[?1049l$ ", "$"},
		{"the screen is cleared", "1\r\n2\r\n", "\x1b[H\x1b[2J$ ", "$"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := small
			o.Before = []byte(test.before)
			got, _ := terminal.Plain([]byte(test.raw), o)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct{ raw, want string }{
		// remainders
		{"[31mred", "red"},
		{"31mred", "red"},
		{"1;31mred", "red"},
		{";31mred", "red"},
		{"m\x1b[1mred", "mred"}, // could be text
		{"[?2004h$ ", "$"},
		{"?2004l\r\nx", "\nx"},
		{"12;4Hx", "x"},
		{"]0;title\ax", "x"},
		{"0;title\ax", "x"},
		{"tle\x1b\\x", "x"},
		{"8;;http://localhost/\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"\x97\xa5x", "x"},
		{"\x97\xa5[1mx", "x"},
		// text
		{"hello", "hello"},
		{"12 files", "12 files"},
		{"[INFO] x", "[INFO] x"},
		{"[12:30:01] x", "[12:30:01] x"},
		{"[100%] x", "[100%] x"},
		{"3D model", "3D model"},
		{"$ ring\a", "$ ring"},
		{"1 ms\r\n", "1 ms\n"},
		{"", ""},
	} {
		o := terminal.Options{Cut: true}
		if got, _ := terminal.Plain([]byte(test.raw), o); got != test.want {
			t.Errorf("%q: %q, want %q", test.raw, got, test.want)
		}
	}
}

// TestSizes: any size is taken, and is the one used.
func TestSizes(t *testing.T) {
	raw := []byte(strings.Repeat("日x", 3000) + "\r\n\x1b[9999;9999Hend")
	for _, cols := range []int{-1, 0, 1, 2, 3, 1000, 1 << 30} {
		for _, rows := range []int{-1, 0, 1, 2, 1000, 1 << 30} {
			got, _ := terminal.Plain(raw, terminal.Options{Cols: cols, Rows: rows})
			if !strings.HasPrefix(got, strings.Repeat("日x", 100)) {
				t.Errorf("%dx%d: %.40q", cols, rows, got)
			}
		}
	}
	got, _ := terminal.Plain([]byte("\x1b[999;999Hx\r\ny"), terminal.Options{})
	if want := strings.Repeat(" ", terminal.DefaultCols-1) + "x\ny"; got != want {
		t.Errorf("by default: %q", got)
	}
}
