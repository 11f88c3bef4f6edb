package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"pyro/api"
)

// omittedField is the field of structured content that says what is missing.
const omittedField = "omitted"

// answer makes a tool's result of what an operation gave: structured content
// and text, at most limit bytes of text in each.
func (s *Server) answer(res any, limit int) (*mcp.CallToolResult, error) {
	v := reflect.ValueOf(res).Elem()
	fillLists(v)
	s.hints.Result(res)
	var whole string
	if textSize(v) > limit {
		whole = s.kept.keep(v)
	}
	omitted := cut(v, limit)
	if len(omitted) > 0 && whole != "" {
		omitted = append(omitted, "more of it for a while: resource "+whole)
	}
	doc, err := structured(res, omitted)
	if err != nil {
		return nil, err
	}
	text := render(v)
	for _, o := range omitted {
		text += "\n[omitted: " + o + "]"
	}
	return &mcp.CallToolResult{
		StructuredContent: doc,
		Content:           []mcp.Content{&mcp.TextContent{Text: text}},
	}, nil
}

// structured is a result as JSON, with what is omitted as its last field.
func structured(res any, omitted []string) (json.RawMessage, error) {
	doc, err := marshal(res)
	if err != nil || len(omitted) == 0 {
		return doc, err
	}
	notes, err := marshal(omitted)
	if err != nil {
		return nil, err
	}
	doc = bytes.TrimSuffix(doc, []byte("}"))
	if len(doc) > 1 {
		doc = append(doc, ',')
	}
	return fmt.Appendf(doc, "%q:%s}", omittedField, notes), nil
}

// marshal is json.Marshal for readers that are not web browsers: < stays <.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// failure makes the result of an error, in the words of this surface.
func (s *Server) failure(err error) *mcp.CallToolResult {
	e := *api.AsError(err)
	e.Message, e.Hint = boundText(s.words(e.Message), s.MaxText), boundText(s.hints.Text(e.Hint), s.MaxText)
	text := string(e.Kind) + ": " + e.Message
	if e.Hint != "" {
		text += "\nhint: " + e.Hint
	}
	return &mcp.CallToolResult{
		IsError:           true,
		StructuredContent: &e,
		Content:           []mcp.Content{&mcp.TextContent{Text: text}},
	}
}

func boundText(text string, limit int) string {
	text, _ = api.Bound([]byte(text), int64(len(text)), limit)
	return text
}

// fillLists makes lists that are nil empty, unless they may be left out: JSON
// has null for nil, and the schemas say array.
func fillLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			fillLists(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() && !f.Anonymous {
				continue
			}
			field := v.Field(i)
			if field.Kind() == reflect.Slice && field.IsNil() && field.CanSet() && !strings.Contains(f.Tag.Get("json"), ",omit") {
				field.Set(reflect.MakeSlice(field.Type(), 0, 0))
			}
			fillLists(field)
		}
	}
}
