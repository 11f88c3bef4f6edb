package bench

import (
	"cmp"
	"fmt"
	"os"
	"strings"
)

// row compares one figure of two contenders.
type row struct {
	what        string // what they do
	figure      string // which of their figures
	pyro, other string // names of contenders
	unit        unit
	target      target
}

// unit turns a figure into words. Times are in seconds, memory is in bytes.
type unit func(v float64) string

func duration(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.1f s", v)
	case v >= 1:
		return fmt.Sprintf("%.2f s", v)
	case v >= 0.1:
		return fmt.Sprintf("%.0f ms", v*1e3)
	}
	return fmt.Sprintf("%.1f ms", v*1e3)
}

// fine is duration for what takes less than a millisecond or a few.
func fine(v float64) string {
	if v < 10e-3 {
		return fmt.Sprintf("%.2f ms", v*1e3)
	}
	return duration(v)
}

func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }

// target is what pyro wants to reach: a ratio to the other contender, or a
// figure of its own. The zero value is none.
type target struct {
	ratio, figure float64
}

// verdict says what the target is and whether it was reached.
func (t target) verdict(u unit, pyro, ratio float64) string {
	var text string
	var met bool
	switch {
	case t.ratio > 0:
		text, met = fmt.Sprintf("≤ %.1f", t.ratio), ratio <= t.ratio
	case t.figure > 0:
		text, met = "≤ "+u(t.figure), pyro <= t.figure
	default:
		return ""
	}
	if met {
		return text + ", met"
	}
	return text + ", **missed**"
}

const tableHead = `| what | pyro | compared with | pyro ÷ other | target | rounds |
|---|---|---|---|---|---|
`

// render writes the rows of a contest. Both sides show their median and, in
// brackets, the quartiles.
func (c *contest) render(b *strings.Builder, got results) {
	for _, r := range c.rows {
		ours, others := got[series{r.pyro, r.figure}], got[series{r.other, r.figure}]
		ratio, verdict := "", ""
		if len(ours) > 0 && len(others) > 0 {
			q := median(ours) / median(others)
			ratio, verdict = fmt.Sprintf("%.2f", q), r.target.verdict(r.unit, median(ours), q)
		} else if len(ours) > 0 && r.target.figure > 0 {
			verdict = r.target.verdict(r.unit, median(ours), 0)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d |\n", r.what,
			c.cell(r.pyro, r.unit, ours), c.cell(r.other, r.unit, others), ratio, verdict, c.rounds)
	}
}

func (c *contest) cell(name string, u unit, values []float64) string {
	p := c.contender(name)
	label := cmp.Or(p.label, p.name)
	switch {
	case len(values) == 0 && p.missing == "":
		return "" // a contender that has no such figure
	case len(values) == 0:
		return fmt.Sprintf("%s: not measured, %s", label, oneLine(p.missing))
	}
	text := label + ": **" + u(median(values)) + "**"
	if len(values) > 2 {
		text += fmt.Sprintf(" (%s to %s)", u(quantile(values, 0.25)), u(quantile(values, 0.75)))
	}
	return text
}

// maxReason is how much of an error a cell shows, in bytes.
const maxReason = 200

// oneLine makes an error fit into a cell.
func oneLine(text string) string {
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// section marks the part of a document that is made by a program.
func section(name string) (begin, end string) {
	return "<!-- " + name + ": begin, made by make bench -->\n", "<!-- " + name + ": end -->\n"
}

// replaceSection puts text between the marks of a section of a document.
func replaceSection(doc, name, text string) (string, error) {
	begin, end := section(name)
	head, rest, ok := strings.Cut(doc, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("the document lacks the marks %q and %q", begin, end)
	}
	return head + begin + text + end + tail, nil
}

// publish prints sections (name, text) and writes them into the document, if one was named.
func publish(doc string, sections ...[2]string) error {
	for _, s := range sections {
		if s[1] != tableHead { // -only picked none of its contests
			fmt.Println(s[1])
		}
	}
	if doc == "" {
		return nil
	}
	b, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	page := string(b)
	for _, s := range sections {
		if page, err = replaceSection(page, s[0], s[1]); err != nil {
			return fmt.Errorf("%s: %w", doc, err)
		}
	}
	tmp := doc + ".new"
	if err := os.WriteFile(tmp, []byte(page), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, doc)
}
