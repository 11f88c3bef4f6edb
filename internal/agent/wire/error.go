package wire

// Kind is the class of an [Error]. The values are those of pyro's error kinds of
// the same name; the agent does not carry that table.
type Kind string

// The kinds.
const (
	KindUsage     Kind = "usage"       // the call itself is wrong; nothing was tried
	KindNotFound  Kind = "not_found"   // no shell or service has this name
	KindConflict  Kind = "conflict"    // one with this name exists, or is in the wrong state
	KindExec      Kind = "exec_failed" // the command cannot be executed
	KindTimeout   Kind = "timeout"     // a probe never answered
	KindDiskLimit Kind = "disk_limit"  // the guest's disk is full
	KindPIDLimit  Kind = "pid_limit"   // the guest has no process left to give
	KindInternal  Kind = "internal"    // everything else
)

// Error is an answer of the agent that the caller may want to act on. On the
// host it is as untrusted as all that comes from a guest: a Kind that is not
// listed above counts as KindInternal.
type Error struct {
	Kind Kind
	// Message names the object and the fact.
	Message string
	// Err is the cause. It stays where it arose.
	Err error
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// knownKind returns k if it is one of the kinds, KindInternal otherwise.
func knownKind(k Kind) Kind {
	switch k {
	case KindUsage, KindNotFound, KindConflict, KindExec, KindTimeout, KindDiskLimit, KindPIDLimit, KindUnsafe:
		return k
	}
	return KindInternal
}
