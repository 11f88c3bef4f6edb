package api

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMismatch: who sent a request knows JSON, and not the types of this program.
func TestMismatch(t *testing.T) {
	for body, want := range map[string]string{
		`{"mem_mib":"256"}`: `field "mem_mib" must be an integer, got a string`,
		`{"mem_mib":1.5}`:   `field "mem_mib" must be an integer, got 1.5`,
		`{"mem_mib":1e400}`: `field "mem_mib" must be an integer, got 1e400`,
		`{"mem_mib":` + strings.Repeat("9", 100) + `}`: `field "mem_mib" must be an integer, got a number`,
		`{"network":"yes"}`:                            `field "network" must be a boolean, got a string`,
		`{"runtime":{}}`:                               `field "runtime" must be a string, got an object`,
		`{"command":"make test"}`:                      `field "command" must be an array of strings, got a string`,
		`{"command":["sleep",1]}`:                      `each item of field "command" must be a string, got a number`,
		`{"command":[["sleep"]]}`:                      `each item of field "command" must be a string, got an array`,
		`{"environment":true}`:                         `field "environment" must be a string, got a boolean`,
		`"run"`:                                        `the request must be an object, got a string`,
	} {
		if err := DecodeRequest([]byte(body), new(RunRequest)); KindOf(err) != KindUsage || err.Error() != want {
			t.Errorf("%.60s: %v, want %s", body, err, want)
		}
	}
	for body, want := range map[string]string{
		`{"labels":["a"]}`:              `field "labels" must be an object, got an array`,
		`{"labels":{"a":1}}`:            `each value of field "labels" must be a string, got a number`,
		`{"secrets":"TOKEN"}`:           `field "secrets" must be an array of objects, got a string`,
		`{"secrets":[{"value":12345}]}`: `field "secrets.value" must be a string, got a number`,
	} {
		if err := DecodeRequest([]byte(body), new(CreateWorkspaceRequest)); KindOf(err) != KindUsage || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

func TestDecodeRequestDefaults(t *testing.T) {
	var got RunRequest
	if err := DecodeRequest([]byte(`{"environment":"debian:12","command":["true"],"mem_mib":256}`), &got); err != nil {
		t.Fatal(err)
	}
	want := RunRequest{
		Environment: "debian:12",
		SandboxOptions: SandboxOptions{
			VCPUCount: 1, MemMiB: 256, DiskMiB: 8192, PIDLimit: 512, TTLSeconds: 600, Runtime: RuntimeAuto,
		},
		TimeoutSeconds: 30,
		Command:        []string{"true"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"unknown field", `{"environment":"e","command":["x"],"colour":1}`, `field "colour" is not known`},
		{"wrong type", `{"environment":7,"command":["x"]}`, `field "environment" must be a string, got a number`},
		{"not an object", `[]`, `the request must be an object, got an array`},
		{"no JSON", `{`, `not valid JSON`},
		{"two documents", `{"environment":"e","command":["x"]}{}`, `more than one`},
		{"missing environment", `{"command":["x"]}`, `field "environment" is missing`},
		{"empty body", ``, `field "environment" is missing`},
		{"empty command", `{"environment":"e","command":[]}`, `field "command" is missing`},
		{"zero is not absence", `{"environment":"e","command":["x"],"vcpu_count":0}`, `field "vcpu_count" is 0`},
		{"negative", `{"environment":"e","command":["x"],"ttl_seconds":-1}`, `field "ttl_seconds" is -1`},
		{"too large", `{"environment":"e","command":["x"],"timeout_seconds":99999999999}`, `at most 2147483647`},
		{"enumeration", `{"environment":"e","command":["x"],"runtime":"docker"}`, `field "runtime" is "docker"`},
		{"empty enumeration", `{"environment":"e","command":["x"],"runtime":""}`, `field "runtime" is ""`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := DecodeRequest([]byte(tc.body), new(RunRequest))
			if KindOf(err) != KindUsage || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v (kind %q), want kind usage with %q", err, KindOf(err), tc.want)
			}
		})
	}
}

// Every default tag must fit its field, and a request of defaults must be valid
// apart from its arguments.
func TestDefaultsOfAllOperations(t *testing.T) {
	for _, op := range Operations() {
		req := reflect.New(op.Request).Interface()
		if err := ApplyDefaults(req); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
		if err := Validate(req); err != nil && !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"environment":"debian:12","command":["true"]}`))
	f.Add([]byte(`{"vcpu_count":1e9,"runtime":"vm"}`))
	f.Add([]byte(`{"colour":`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var req RunRequest
		err := DecodeRequest(body, &req)
		if err != nil && KindOf(err) != KindUsage {
			t.Errorf("kind %q: %v", KindOf(err), err)
		}
		if err == nil && (req.Environment == "" || len(req.Command) == 0 || req.VCPUCount <= 0 || req.TimeoutSeconds <= 0) {
			t.Errorf("accepted %+v", req)
		}
	})
}
