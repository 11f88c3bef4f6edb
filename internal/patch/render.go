package patch

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// NameOnly writes the paths of all entries that are not of a folder, one a line,
// quoted, as `git diff --name-only` does.
func NameOnly(w io.Writer, entries []Entry) error {
	out := bufio.NewWriter(w)
	for i := range entries {
		if !entries[i].isDirectory() {
			fmt.Fprintln(out, quote(entries[i].Path))
		}
	}
	return out.Flush()
}

// Stat writes one line for each entry that is not of a folder, and their sum, as
// `git diff --stat` does on a terminal of that many columns (80 when 0). What
// has no text, for whatever reason, is shown with its sizes, as git shows
// binary files. No entries are no output.
func Stat(w io.Writer, entries []Entry, columns int) error {
	if columns <= 0 {
		columns = 80
	}
	rows, sum := statRows(entries)
	if len(rows) == 0 {
		return nil
	}
	l := layout(rows, columns)
	out := bufio.NewWriter(w)
	for _, r := range rows {
		fmt.Fprintf(out, " %s | %s\n", l.name(r.name), l.value(r))
	}
	fmt.Fprintln(out, sum)
	return out.Flush()
}

// statRow is one line of Stat.
type statRow struct {
	name           string
	added, deleted int
	sizes          string // instead of lines: "1 -> 2 bytes"
	binary         bool
}

func statRows(entries []Entry) (rows []statRow, sum string) {
	added, deleted := 0, 0
	for i := range entries {
		e := &entries[i]
		if e.isDirectory() {
			continue
		}
		r := statRow{name: quote(e.Path), added: e.LinesAdded, deleted: e.LinesDeleted}
		switch e.Reason {
		case ReasonNone, ReasonPermissions:
		default:
			r.binary, r.sizes = true, sizes(e)
		}
		added, deleted = added+r.added, deleted+r.deleted
		rows = append(rows, r)
	}
	sum = " " + plural(len(rows), "file") + " changed"
	if added > 0 || deleted == 0 {
		sum += ", " + plural(added, "insertion") + "(+)"
	}
	if deleted > 0 || added == 0 {
		sum += ", " + plural(deleted, "deletion") + "(-)"
	}
	return rows, sum
}

func sizes(e *Entry) string {
	var before, after int64
	if e.Before != nil {
		before = e.Before.Size
	}
	if e.After != nil {
		after = e.After.Size
	}
	return fmt.Sprintf("%d -> %d bytes", before, after)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// statLayout is how the columns of a terminal are shared out.
type statLayout struct {
	names, numbers, graph int
	most                  int // lines changed in one file
}

// layout shares them as git does (show_stats in its diff.c): names and graph get
// what they want if both fit; otherwise the graph gets 3/8 and names the rest.
func layout(rows []statRow, columns int) statLayout {
	var l statLayout
	binary := 0
	for _, r := range rows {
		l.names = max(l.names, len(r.name))
		l.most = max(l.most, r.added+r.deleted)
		if r.binary {
			binary = max(binary, len("Bin ")+len(r.sizes))
			l.numbers = len("Bin")
		}
	}
	l.numbers = max(l.numbers, len(strconv.Itoa(l.most)))
	columns = max(columns, 16+6+l.numbers)
	l.graph = max(l.most, binary-4)
	if l.names+l.numbers+6+l.graph <= columns {
		return l
	}
	if most := columns*3/8 - l.numbers - 6; l.graph > most {
		l.graph = max(6, most) // which may be more than it wants; git does so too
	}
	if room := columns - l.numbers - 6 - l.graph; l.names > room {
		l.names = room
	} else {
		l.graph = columns - l.numbers - 6 - l.names
	}
	return l
}

// name cuts the front off a name that is too long, up to a slash if there is one.
func (l statLayout) name(name string) string {
	width := l.names
	if len(name) <= width {
		return fmt.Sprintf("%-*s", width, name)
	}
	width = max(0, width-len("..."))
	name = name[len(name)-width:]
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		name = name[slash:]
	}
	return fmt.Sprintf("...%-*s", width, name)
}

func (l statLayout) value(r statRow) string {
	if r.binary {
		return fmt.Sprintf("%*s %s", l.numbers, "Bin", r.sizes)
	}
	added, deleted := l.scale(r.added, r.deleted)
	total := r.added + r.deleted
	if total == 0 {
		return fmt.Sprintf("%*d", l.numbers, total)
	}
	return fmt.Sprintf("%*d %s%s", l.numbers, total, strings.Repeat("+", added), strings.Repeat("-", deleted))
}

// scale fits the graph of one file into its columns, with at least one sign for
// each kind of change there is.
func (l statLayout) scale(added, deleted int) (plus, minus int) {
	if l.graph > l.most {
		return added, deleted
	}
	fit := func(n int) int {
		if n == 0 {
			return 0
		}
		return 1 + n*(l.graph-1)/l.most
	}
	total := fit(added + deleted)
	if total < 2 && added > 0 && deleted > 0 {
		total = 2
	}
	if added < deleted {
		plus = fit(added)
		return plus, total - plus
	}
	minus = fit(deleted)
	return total - minus, minus
}
