package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
)

// DecodeRequest reads the JSON document body into the request req points to.
// Fields that are not in the document get their default; an unknown field, a
// wrong type or a value that Validate refuses is an error of kind usage. An
// empty body counts as {}.
//
// Defaults go in first, so that a zero in the document is a zero and not the
// absence of a choice.
func DecodeRequest(body []byte, req any) error {
	if err := ApplyDefaults(req); err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := decodeStrict(body, req); err != nil {
			return err
		}
	}
	return Validate(req)
}

func decodeStrict(body []byte, req any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(req)
	if err == nil {
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return Errorf(KindUsage, "the request holds more than one JSON document")
		}
		return nil
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return Errorf(KindUsage, "the request %s", Mismatch(e))
		}
		return Errorf(KindUsage, "%s %s", wrongField(req, e), Mismatch(e))
	}
	// encoding/json has no type for this error, only this text.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Errorf(KindUsage, "field %s is not known", name).WithHint("known fields: %s", strings.Join(fieldNames(req), ", "))
	}
	return Errorf(KindUsage, "the request is not valid JSON: %w", err)
}

// wrongField names the field with a value of the wrong type, as JSON does: the
// error has the names of embedded structs too, and of a list or an object only
// the name, whatever in it is wrong.
func wrongField(req any, e *json.UnmarshalTypeError) string {
	name := e.Field
	if outer, inner, nested := strings.Cut(name, "."); nested {
		if f, ok := reflect.TypeOf(req).Elem().FieldByName(outer); ok && f.Anonymous {
			name = inner
		}
	}
	for p := range fields(req) {
		switch {
		case p.Name != name || e.Type == p.elem():
		case p.elem().Kind() == reflect.Slice:
			return fmt.Sprintf("each item of field %q", name)
		case p.elem().Kind() == reflect.Map:
			return fmt.Sprintf("each value of field %q", name)
		}
	}
	return fmt.Sprintf("field %q", name)
}

// ApplyDefaults gives every zero field of the struct that req points to the
// value of its default tag.
func ApplyDefaults(req any) error {
	for p, field := range fields(req) {
		if p.Default == "" || !field.IsZero() {
			continue
		}
		if err := p.Set(field, p.Default); err != nil {
			return Errorf(KindInternal, "default: %w", err)
		}
	}
	return nil
}

// Validate checks the struct that req points to against its tags, as
// [Param.Check] says. The error is of kind usage and names the field as JSON does.
func Validate(req any) error {
	for p, field := range fields(req) {
		p.Name = fmt.Sprintf("field %q", p.Name)
		if err := p.Check(field); err != nil {
			return err
		}
	}
	return nil
}

// fields yields the parameters of the struct that req points to, and where
// their values are.
func fields(req any) iter.Seq2[Param, reflect.Value] {
	v := reflect.ValueOf(req)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("api: %T is not a pointer to a struct", req))
	}
	v = v.Elem()
	return func(yield func(Param, reflect.Value) bool) {
		for _, p := range Params(v.Type()) {
			if !yield(p, v.FieldByIndex(p.Index)) {
				return
			}
		}
	}
}

func fieldNames(req any) []string {
	var names []string
	for p := range fields(req) {
		names = append(names, p.Name)
	}
	return names
}
