package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Phrasing says texts that are for people, as hints of errors are, in the names
// of another surface than the command line. What it leaves alone stays.
type Phrasing struct {
	// Command says a mention of a command of the table. False leaves it alone.
	Command func(Mention) (string, bool)
	// Flag says a flag that stands alone, as in "give it more with --mem-mib". It
	// is a parameter of some row, and asked about for each of those until one is
	// said. False leaves it alone. Optional.
	Flag func(*Operation, Param) (string, bool)
}

// loneFlag finds flags that stand alone.
var loneFlag = regexp.MustCompile(`(?:^|[ (])--[a-z][a-z-]*`)

// Text says a text.
func (p Phrasing) Text(text string) string {
	var b strings.Builder
	for {
		m, begin, end, ok := findMention(text)
		if begin < 0 {
			return b.String() + p.flags(text)
		}
		b.WriteString(p.flags(text[:begin]))
		phrase := ""
		if ok {
			phrase, ok = p.Command(m)
		}
		if !ok {
			phrase = text[begin:end]
		}
		b.WriteString(phrase)
		text = text[end:]
	}
}

func (p Phrasing) flags(text string) string {
	if p.Flag == nil {
		return text
	}
	return loneFlag.ReplaceAllStringFunc(text, func(found string) string {
		before, flag, _ := strings.Cut(found, "--")
		for _, op := range Operations() {
			params := Params(op.Request)
			i := slices.IndexFunc(params, func(p Param) bool { return p.Flag == flag })
			if i < 0 {
				continue
			}
			if phrase, ok := p.Flag(op, params[i]); ok {
				return before + phrase
			}
		}
		return found
	})
}

// Error says the hint of an error, in a copy. nil stays nil.
func (p Phrasing) Error(err error) error {
	if err == nil {
		return nil
	}
	e := *AsError(err)
	e.Hint = p.Text(e.Hint)
	return &e
}

// Result says the hints of the errors in the result that v points to: a limit
// that was reached, for one.
func (p Phrasing) Result(v any) { p.result(reflect.ValueOf(v)) }

func (p Phrasing) result(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		switch e, isError := v.Interface().(*Error); {
		case v.IsNil():
		case isError:
			v.Set(reflect.ValueOf(p.Error(e)))
		default:
			p.result(v.Elem())
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k == reflect.Struct || k == reflect.Pointer {
			for i := range v.Len() {
				p.result(v.Index(i))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous {
				p.result(v.Field(i))
			}
		}
	}
}

// placeholder is a word that stands for one of the reader's.
var placeholder = regexp.MustCompile(`^[A-Z][A-Z_]*$`)

// JSON is the value as the parameter takes it in JSON, but for placeholders,
// which stay as they are. False says that there is no simple form.
func (a Argument) JSON() (string, bool) {
	if len(a.Words) == 1 && placeholder.MatchString(a.Words[0]) {
		return a.Words[0], true
	}
	switch a.TypeName() {
	case "boolean", "integer":
		return a.Words[0], true
	case "string":
		return quoted(a.Words[0]), true
	case "list of string":
		return quoted(a.Words), true
	}
	return "", false
}

func quoted(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a string, or some
	return strings.TrimSpace(b.String())
}
