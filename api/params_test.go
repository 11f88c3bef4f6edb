package api_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pyro/api"
)

func TestParams(t *testing.T) {
	type embedded struct {
		Size *int `json:"size,omitempty" cli:"size" doc:"size"`
	}
	type request struct {
		Path string `json:"path" cli:"PATH,arg,hostpath" doc:"path"`
		embedded
		Kind   api.Runtime       `json:"kind,omitempty" cli:"-" default:"auto" doc:"kind"`
		Labels map[string]string `json:"labels,omitempty" cli:"label" doc:"labels"`
		Rest   []string          `json:"rest,omitempty" cli:"CMD,rest" doc:"rest"`
	}
	want := []api.Param{
		{Name: "path", Arg: "PATH", HostPath: true, Required: true, Doc: "path", Type: reflect.TypeFor[string](), Index: []int{0}},
		{Name: "size", Flag: "size", Doc: "size", Type: reflect.TypeFor[*int](), Index: []int{1, 0}},
		{Name: "kind", Default: "auto", Enum: []string{"auto", "vm", "gvisor"}, Doc: "kind", Type: reflect.TypeFor[api.Runtime](), Index: []int{2}},
		{Name: "labels", Flag: "label", Doc: "labels", Type: reflect.TypeFor[map[string]string](), Index: []int{3}},
		{Name: "rest", Arg: "CMD", Rest: true, Doc: "rest", Type: reflect.TypeFor[[]string](), Index: []int{4}},
	}
	got := api.Params(reflect.TypeFor[request]())
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b reflect.Type) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	var types []string
	for _, p := range got {
		types = append(types, p.TypeName())
	}
	if diff := cmp.Diff([]string{"string", "integer", "string", "map of string", "list of string"}, types); diff != "" {
		t.Error(diff)
	}
}

func TestBoundIsValidUTF8(t *testing.T) {
	text, cut := api.Bound([]byte("caf\xc3\xa9 \xff"), 7, 100)
	if text != "café \uFFFD" || cut {
		t.Errorf("got %q, %v", text, cut)
	}
	text, cut = api.Bound([]byte(strings.Repeat("é", 100)), 200, 101)
	if !cut || strings.ToValidUTF8(text, "") != text || !strings.Contains(text, "[... 100 bytes left out ...]") {
		t.Errorf("got %q, %v", text, cut)
	}
}
