package api_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pyro/api"
)

func TestAsError(t *testing.T) {
	own := api.Errorf(api.KindNotFound, "VM vm-1 does not exist").WithHint("pyro vm list")
	for _, tt := range []struct {
		name string
		err  error
		want *api.Error
	}{
		{"nil", nil, nil},
		{"own", own, own},
		{"wrapped", fmt.Errorf("start: %w", own), &api.Error{Kind: api.KindNotFound, Message: "start: VM vm-1 does not exist", Hint: "pyro vm list"}},
		{"foreign", io.EOF, &api.Error{Kind: api.KindInternal, Message: "EOF"}},
	} {
		if diff := cmp.Diff(tt.want, api.AsError(tt.err), cmpopts.IgnoreFields(api.Error{}, "Err")); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestErrorsSurviveTheJourney(t *testing.T) {
	e := api.Errorf(api.KindStorage, "disk: %w", io.ErrShortWrite).WithHint("free %d MiB", 5)
	got := api.UnmarshalError(api.MarshalError(e))
	want := &api.Error{Kind: api.KindStorage, Message: "disk: short write", Hint: "free 5 MiB"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(e, io.ErrShortWrite) || !errors.Is(e, &api.Error{Kind: api.KindStorage}) || errors.Is(e, &api.Error{Kind: api.KindUsage}) {
		t.Error("errors.Is does not see the cause or the kind")
	}
	for _, doc := range []string{`{}`, `{"error":null}`, `x`, ``} {
		if e := api.UnmarshalError([]byte(doc)); e != nil {
			t.Errorf("%q: got %v", doc, e)
		}
	}
}
