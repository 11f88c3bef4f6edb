package patch_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pyro/internal/patch"
	"pyro/internal/tree"
)

// project is a tree of 10,000 files of 4 KiB, and the same with ten edited.
func project(b *testing.B) (before, after *tree.Tree) {
	before, after = build(b), build(b)
	for i := range 10_000 {
		var text strings.Builder
		for j := range 100 {
			fmt.Fprintf(&text, "line %d of file %d, as long as such lines are\n", j, i)
		}
		f := file(fmt.Sprintf("%d/%d/file.txt", i%100, i), text.String())
		put(b, before, f)
		if i%1000 == 0 {
			f.data = strings.Replace(f.data, "line 50 ", "line fifty ", 1)
		}
		put(b, after, f)
	}
	return before, after
}

func BenchmarkCompare(b *testing.B) {
	before, after := project(b)
	for _, c := range []struct {
		name string
		same func(a, b *tree.Node) bool
	}{
		{"Same", func(a, b *tree.Node) bool { return a.Size == b.Size }},
		{"Read", nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := compare(b, before, after, patch.Options{Same: c.same}); d.Summary.Total != 10 {
					b.Fatalf("%+v", d.Summary)
				}
			}
		})
	}
}

// BenchmarkTexts measures texts that are hard to compare.
func BenchmarkTexts(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	scatter := func(text string, every int) string {
		lines := strings.SplitAfter(text, "\n")
		for i := every; i < len(lines); i += every {
			lines[i] = "edited\n"
		}
		return strings.Join(lines, "")
	}
	var numbered, few, blank strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&numbered, "this is line number %d\n", i)
		fmt.Fprintf(&few, "%d\n", r.IntN(10))
		blank.WriteString("\n")
	}
	shuffled := strings.SplitAfter(strings.TrimSuffix(numbered.String(), "\n"), "\n")
	r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, c := range []struct{ name, before, after string }{
		{"Edited", numbered.String(), scatter(numbered.String(), 50)},
		{"Rewritten", numbered.String(), strings.ReplaceAll(numbered.String(), "line", "LINE")},
		{"Shuffled", numbered.String(), strings.Join(shuffled, "")},
		{"FewKindsOfLines", few.String(), scatter(few.String(), 50)},
		{"Blank", "a\n" + strings.Repeat(blank.String(), 20) + "b\n", "c\n" + strings.Repeat(blank.String(), 19) + "d\n" + blank.String()},
	} {
		b.Run(c.name, func(b *testing.B) {
			before, after := build(b, file("f", c.before)), build(b, file("f", c.after))
			for b.Loop() {
				b.SetBytes(int64(len(c.before) + len(c.after)))
				d := compare(b, before, after, patch.Options{})
				b.ReportMetric(float64(strings.Count(d.Patch, "\n")), "lines")
			}
		})
	}
}
