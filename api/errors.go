package api

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Kind is the stable, machine-readable class of an [Error]. Kinds are part of
// the public contract: new ones may be added, existing ones keep their meaning.
type Kind string

// The error kinds. KindInfo (see kinds.go) says what each one means and which
// exit code the command line gives it.
const (
	KindUsage             Kind = "usage"              // the request itself is wrong; nothing was tried
	KindNotFound          Kind = "not_found"          // the named object does not exist
	KindConflict          Kind = "conflict"           // the object exists already or is in the wrong state
	KindNotInstalled      Kind = "not_installed"      // an environment is known but not in the cache, and may not be fetched
	KindUnavailable       Kind = "unavailable"        // this host lacks something the operation needs
	KindUnsupported       Kind = "unsupported"        // this version of pyro does not do that
	KindNetwork           Kind = "network"            // a mirror or registry did not answer as it should
	KindVerification      Kind = "verification"       // a signature, digest or size does not match
	KindUnsafe            Kind = "unsafe_content"     // an archive, layer or package tries something forbidden
	KindTimeout           Kind = "timeout"            // the time limit ended the command
	KindMemoryLimit       Kind = "memory_limit"       // the memory limit was reached
	KindDiskLimit         Kind = "disk_limit"         // the disk limit was reached
	KindPIDLimit          Kind = "pid_limit"          // the process limit was reached
	KindSandboxDied       Kind = "sandbox_died"       // the sandbox ended by itself
	KindExec              Kind = "exec_failed"        // the command could not be started in the sandbox
	KindStorage           Kind = "storage"            // the host's disk is full or failing
	KindPermission        Kind = "permission"         // the host refuses the operation to this user
	KindDaemonUnavailable Kind = "daemon_unavailable" // the background process cannot be started or reached
	KindCanceled          Kind = "canceled"           // the caller went away or asked to stop
	KindReset             Kind = "reset"              // the workspace was reset while the call ran
	KindInternal          Kind = "internal"           // a fault in pyro
)

// Error is the one error form of every surface. It names the object and the
// fact in Message and the next command to type in Hint.
type Error struct {
	// Kind lets programs decide; see the constants.
	Kind Kind `json:"kind" doc:"stable class of the error"`
	// Message names the object and the fact, without a trailing full stop.
	Message string `json:"message" doc:"names the object and the fact"`
	// Hint is what the user can do next, usually a command to type.
	Hint string `json:"hint,omitempty" doc:"what to do next, usually a command to type"`
	// Err is the cause. It never crosses a process border.
	Err error `json:"-"`
}

// Errorf makes an Error of the given kind. A %w verb sets its cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint sets the hint and returns e, so that an error reads as one expression.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an Error of the same kind without a message, so
// that errors.Is(err, &Error{Kind: KindNotFound}) asks for the kind alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Kind == e.Kind
}

// AsError returns err as an *Error. An error of another type becomes one of
// KindInternal that keeps its text; nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Error() == err.Error() {
			return e
		}
		return &Error{Kind: e.Kind, Message: err.Error(), Hint: e.Hint, Err: err}
	}
	return &Error{Kind: KindInternal, Message: err.Error(), Err: err}
}

// KindOf returns the kind of err, or "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return AsError(err).Kind
}

// errorEnvelope is how an error stands in an HTTP body and in --json output.
type errorEnvelope struct {
	Error *Error `json:"error"`
}

// MarshalError returns the JSON document {"error": {kind, message, hint}}.
func MarshalError(err error) []byte {
	b, _ := json.Marshal(errorEnvelope{AsError(err)})
	return b
}

// UnmarshalError reads what MarshalError wrote. It returns nil if doc holds no error.
func UnmarshalError(doc []byte) *Error {
	var env errorEnvelope
	if json.Unmarshal(doc, &env) != nil {
		return nil
	}
	return env.Error
}
