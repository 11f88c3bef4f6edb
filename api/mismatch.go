package api

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Mismatch says what is wrong with a JSON value in the words of JSON, for a
// sentence that begins with the value's name: "must be an integer, got a string".
func Mismatch(e *json.UnmarshalTypeError) string {
	return "must be " + jsonType(e.Type) + ", got " + jsonValue(e.Value)
}

// jsonType names what a Go type is in JSON, as JSON Schema does.
func jsonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch name := TypeName(t); {
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		_, items, _ := strings.Cut(jsonType(t.Elem()), " ")
		return "an array of " + items + "s"
	case name == "integer":
		return "an integer"
	case name == "string" || name == "boolean" || name == "number":
		return "a " + name
	case name == "time":
		return "a string with a time"
	}
	return "an object"
}

// longestNumber is how long a number may be to be shown, in bytes.
const longestNumber = 40

// jsonValue names a value that encoding/json describes: a type, or a number that
// does not fit.
func jsonValue(value string) string {
	number, isNumber := strings.CutPrefix(value, "number ")
	switch {
	case isNumber && len(number) <= longestNumber:
		return number
	case isNumber || value == "number":
		return "a number"
	case value == "bool":
		return "a boolean"
	case value == "array" || value == "object":
		return "an " + value
	}
	return "a " + value
}
