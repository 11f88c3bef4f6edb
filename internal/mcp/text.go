package mcp

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// lineLength is how long a text may be to stand beside others, in bytes.
const lineLength = 160

// render says a result as text: what is short in the first line as name=value,
// below it lists and texts. What is empty is left out; numbers are not.
func render(v reflect.Value) string {
	var b strings.Builder
	renderStruct(&b, v)
	if b.Len() == 0 {
		return "done"
	}
	return strings.TrimRight(b.String(), "\n")
}

// renderStruct writes a struct that begins in an open line.
func renderStruct(b *strings.Builder, v reflect.Value) {
	var blocks []func()
	var line []string
	for _, f := range jsonFields(v.Type()) {
		value := reflect.Indirect(v.FieldByIndex(f.Index))
		if f.repeated || !value.IsValid() {
			continue
		}
		if text, ok := inline(value); ok {
			if text != "" {
				line = append(line, f.json+"="+text)
			}
			continue
		}
		blocks = append(blocks, func() { renderBlock(b, f.json, value) })
	}
	b.WriteString(strings.Join(line, " "))
	if len(line) > 0 {
		b.WriteByte('\n')
	}
	for _, block := range blocks {
		block()
	}
}

// renderBlock writes a value that takes lines of its own.
func renderBlock(b *strings.Builder, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		b.WriteString(name + ":\n" + strings.TrimSuffix(v.String(), "\n") + "\n")
	case reflect.Slice:
		if v.Len() == 0 {
			return
		}
		b.WriteString(name + ":\n")
		for i := range v.Len() {
			b.WriteString("- ")
			renderStruct(b, reflect.Indirect(v.Index(i)))
		}
	case reflect.Struct:
		b.WriteString(name + ": ")
		renderStruct(b, v)
	}
}

// inline says a value in one line, "" if there is nothing to say. It reports
// false for a value that needs lines of its own.
func inline(v reflect.Value) (string, bool) {
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		if len(s) > lineLength || strings.Contains(s, "\n") {
			return "", false
		}
		return word(s), true
	case reflect.Bool:
		if !v.Bool() {
			return "", true
		}
		return "true", true
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			return "", false
		}
		var words []string
		for i := range v.Len() {
			words = append(words, word(fmt.Sprint(v.Index(i).Interface())))
		}
		return strings.Join(words, ","), true
	case reflect.Struct:
		t, ok := v.Interface().(time.Time)
		if ok && !t.IsZero() {
			return t.UTC().Format(time.RFC3339), true
		}
		return "", ok
	}
	return fmt.Sprint(v.Interface()), true
}

// word quotes what would not be read as one word.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || r == ',' || !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
