package mcp

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"pyro/api"
)

const (
	// listCost is what an element of a list counts for beyond its texts, in
	// bytes: its numbers and the names of its fields.
	listCost = 64
	// shortText is the length of texts that are never cut.
	shortText = 256
	// shortList is the length of lists that are never cut.
	shortList = 8
)

// cut shortens the result v until its texts have at most about limit bytes, and
// says what it left out. Texts and lists keep their head and tail; those of
// them that are short stay as they are.
func cut(v reflect.Value, limit int) (omitted []string) {
	if textSize(v) <= limit {
		return nil
	}
	visit(v, func(p *place) {
		if p.field.repeated && !p.value.IsZero() && p.value.CanSet() {
			p.value.SetZero()
			omitted = append(omitted, p.name()+": it repeats other fields")
		}
	})
	fillLists(v)
	omitted = compact(omitted)
	if textSize(v) <= limit {
		return omitted
	}
	omitted = append(omitted, cutTexts(v, limit)...)
	return append(omitted, cutLists(v, limit)...)
}

// compact keeps the notes short: a list may have thousands of elements.
func compact(notes []string) []string {
	const most = 3
	if len(notes) <= most {
		return notes
	}
	return append(slices.Clip(notes[:most]), fmt.Sprintf("and %d more like these", len(notes)-most))
}

// cutTexts cuts the longest texts to one length, so that all together fit.
func cutTexts(v reflect.Value, limit int) (omitted []string) {
	var long []*place
	var sizes []int
	rest := textSize(v)
	visit(v, func(p *place) {
		if p.text().IsValid() && p.text().Len() > shortText {
			long = append(long, p)
			sizes = append(sizes, p.text().Len())
			rest -= p.text().Len()
		}
	})
	most := max(shortText, share(sizes, max(limit-rest, limit/2)))
	for _, p := range long {
		if p.text().Len() > most {
			total := p.shorten(most)
			omitted = append(omitted, fmt.Sprintf("%s: %d of %d bytes", p.name(), total-int64(most), total))
		}
	}
	return compact(omitted)
}

// share returns the length to which sizes must be cut to make room together.
func share(sizes []int, room int) int {
	sizes = slices.Sorted(slices.Values(sizes))
	for i, size := range sizes {
		if each := room / (len(sizes) - i); size > each {
			return each
		}
		room -= size
	}
	return room
}

// cutLists takes the middle out of the largest lists until v fits, more or less:
// the marks in texts take room too.
func cutLists(v reflect.Value, limit int) (omitted []string) {
	limit += limit/4 + 1<<10
	for over := textSize(v) - limit; over > 0; over = textSize(v) - limit {
		var largest *place
		weight := 0
		visit(v, func(p *place) {
			if p.value.Kind() != reflect.Slice || p.value.Len() <= shortList || !p.value.CanSet() {
				return
			}
			if size := textSize(p.value); size > weight {
				largest, weight = p, size
			}
		})
		if largest == nil {
			break
		}
		list := largest.value
		count := list.Len()
		head, tail := ends(list, max(0, weight-over))
		list.Set(reflect.AppendSlice(list.Slice3(0, head, head), list.Slice(count-tail, count)))
		omitted = append(omitted, fmt.Sprintf("%s: %d of %d, between the first %d and the last %d", largest.name(), count-head-tail, count, head, tail))
	}
	return compact(omitted)
}

// ends returns how many elements of the head and of the tail of a list fit into
// room, at least half of shortList each.
func ends(list reflect.Value, room int) (head, tail int) {
	n := list.Len()
	head, tail = shortList/2, shortList/2
	used := 0
	for i := range head {
		used += element(list.Index(i)) + element(list.Index(n-1-i))
	}
	for head+tail < n-1 {
		used += element(list.Index(head))
		if used > room {
			break
		}
		head++
		used += element(list.Index(n - 1 - tail))
		if used > room {
			break
		}
		tail++
	}
	return head, tail
}

func element(v reflect.Value) int { return listCost + textSize(v) }

// textSize is how much text a value holds, in bytes.
func textSize(v reflect.Value) int {
	n := 0
	switch v.Kind() {
	case reflect.String:
		n = v.Len()
	case reflect.Pointer:
		if !v.IsNil() {
			n = textSize(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += element(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return 0
		}
		for _, field := range jsonFields(v.Type()) {
			n += textSize(v.FieldByIndex(field.Index))
		}
	}
	return n
}

// place is a value within a result.
type place struct {
	value  reflect.Value
	within *place    // nil for the result itself
	field  jsonField // that it is, or whose element
	index  int       // within a list, else -1
}

// name is the place as a user of JSON would write it: commands[2].stdout.
func (p *place) name() string {
	switch {
	case p.within == nil:
		return ""
	case p.index >= 0:
		return fmt.Sprintf("%s[%d]", p.within.name(), p.index)
	case p.within.within == nil:
		return p.field.json
	}
	return p.within.name() + "." + p.field.json
}

// visit calls f for v and all that it holds.
func visit(v reflect.Value, f func(*place)) { visitPlace(&place{value: v, index: -1}, f) }

func visitPlace(p *place, f func(*place)) {
	f(p)
	v := reflect.Indirect(p.value)
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			visitPlace(&place{value: v.Index(i), within: p, index: i}, f)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range jsonFields(v.Type()) {
			visitPlace(&place{value: v.FieldByIndex(field.Index), within: p, field: field, index: -1}, f)
		}
	}
}

// text is the string that can be cut at this place, or nothing.
func (p *place) text() reflect.Value {
	if s := reflect.Indirect(p.value); s.Kind() == reflect.String && s.CanSet() {
		return s
	}
	return reflect.Value{}
}

// shorten cuts the text at this place to most bytes and returns how many there
// were at first.
func (p *place) shorten(most int) (total int64) {
	s := p.text().String()
	total = int64(len(s))
	if p.field.written != nil {
		total = max(total, reflect.Indirect(p.within.value).FieldByIndex(p.field.written).Int())
	}
	short, _ := api.Bound([]byte(s), total, most)
	p.text().SetString(short)
	if p.field.truncated != nil {
		reflect.Indirect(p.within.value).FieldByIndex(p.field.truncated).SetBool(true)
	}
	return total
}
