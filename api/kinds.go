package api

// KindInfo documents one error kind.
type KindInfo struct {
	Kind Kind
	// ExitCode is what the command line ends with.
	ExitCode int
	// HTTPStatus is the status of the daemon's answer.
	HTTPStatus int
	// Meaning is one sentence for the reference.
	Meaning string
}

// Exit codes of the command line. The codes of a guest command are passed on
// unchanged; these are pyro's own, chosen as docker, podman and timeout(1) do.
const (
	ExitOK            = 0
	ExitUsage         = 2
	ExitTimeout       = 124
	ExitFailure       = 125
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitSignalBase    = 128 // 128+n: the command was ended by signal n
)

// ExitCodes is the table that `pyro help exit-codes` and the reference print.
var ExitCodes = []struct {
	Code    string
	Meaning string
}{
	{"0", "success"},
	{"1-123", "run, workspace exec, workspace shell attach: the exit code of the command or shell"},
	{"2", "usage: the command line is wrong; nothing was tried (also a guest command that itself exits 2)"},
	{"124", "the time limit ended the command"},
	{"125", "pyro itself failed; the error line says why"},
	{"126", "the command was found in the sandbox but cannot be executed"},
	{"127", "the command was not found in the sandbox"},
	{"128+n", "the command, or pyro itself, was ended by signal n (130: Ctrl-C; 137: SIGKILL, for example by the memory limit)"},
}

// Kinds lists every error kind, in the order of the reference.
var Kinds = []KindInfo{
	{KindUsage, ExitUsage, 400, "The request itself is wrong; nothing was tried."},
	{KindNotFound, ExitFailure, 404, "The named object does not exist."},
	{KindConflict, ExitFailure, 409, "The object exists already, or its state does not allow the operation."},
	{KindNotInstalled, ExitFailure, 409, "The environment is known but not in the cache, and may not be fetched now."},
	{KindUnavailable, ExitFailure, 503, "This host lacks something that the operation needs."},
	{KindUnsupported, ExitFailure, 501, "This version of pyro does not do that."},
	{KindNetwork, ExitFailure, 502, "A mirror or registry did not answer as it should."},
	{KindVerification, ExitFailure, 502, "A signature, digest or size does not match."},
	{KindUnsafe, ExitFailure, 422, "An archive, layer or package tries something forbidden."},
	{KindTimeout, ExitTimeout, 504, "The time limit ended the command."},
	{KindMemoryLimit, ExitFailure, 507, "The sandbox reached its memory limit."},
	{KindDiskLimit, ExitFailure, 507, "The sandbox reached its disk limit."},
	{KindPIDLimit, ExitFailure, 507, "The sandbox reached its limit of processes."},
	{KindSandboxDied, ExitFailure, 500, "The sandbox ended by itself."},
	{KindExec, ExitFailure, 422, "The command could not be started in the sandbox."},
	{KindStorage, ExitFailure, 507, "The host's disk is full or failing."},
	{KindPermission, ExitFailure, 403, "The host refuses the operation to this user."},
	{KindDaemonUnavailable, ExitFailure, 503, "The background process cannot be started or reached."},
	{KindCanceled, ExitFailure, 499, "The caller went away or asked to stop."},
	{KindReset, ExitFailure, 409, "The workspace was reset while the call ran; what the call did is gone."},
	{KindInternal, ExitFailure, 500, "A fault in pyro."},
}

// Info returns the documentation of k; an unknown kind counts as internal.
func (k Kind) Info() KindInfo {
	for _, info := range Kinds {
		if info.Kind == k {
			return info
		}
	}
	return Kinds[len(Kinds)-1]
}
