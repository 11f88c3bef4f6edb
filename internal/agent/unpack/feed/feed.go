// Package feed is the host's end of a push into a running guest: it writes the
// stream that "pyro-agent unpack" reads, and reads its answer. Package unpack
// tells what is promised, and does the work.
//
//	p := start in the guest: /run/pyro/bin/pyro-agent unpack --root /workspace --dest src
//	sendErr := feed.Send(ctx, p.stdin, changes)
//	close p.stdin
//	answer, err := feed.ReadAnswer(all of p.stdout)
//	if err == nil, the push was done, whatever sendErr is
//
// The answer is what counts. A guest that gives up, say because its disk is full,
// closes its stdin and answers why, while Send only notices that nobody reads any
// more. Should the answer be missing, Send's error tells more; then nothing was
// changed, unless [CommitSent] says that the guest may have done it.
package feed

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"pyro/api"
	"pyro/internal/agent/unpack"
)

// Changes is what can be sent. WriteTar writes an archive with its end blocks;
// names are relative to the destination.
type Changes interface {
	WriteTar(ctx context.Context, w io.Writer) error
}

// Send writes the changes and, only if all of them are written and ctx has not
// ended, the commit word.
func Send(ctx context.Context, w io.Writer, changes Changes) error {
	if err := changes.WriteTar(ctx, w); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return api.Errorf(api.KindCanceled, "the push was canceled before its end: %w", context.Cause(ctx))
	}
	if _, err := io.WriteString(w, unpack.CommitWord); err != nil {
		return &commitError{api.Errorf(api.KindInternal, "the sandbox did not take the end of the push: %w", err)}
	}
	return nil
}

// commitError is of the write of the commit word, which the guest may have read.
type commitError struct{ cause *api.Error }

func (e *commitError) Error() string { return e.cause.Error() }

func (e *commitError) Unwrap() error { return e.cause }

// CommitSent says whether the guest may have got the commit word, although Send
// returned err: then only its answer tells whether the push was done.
func CommitSent(err error) bool {
	_, ok := errors.AsType[*commitError](err)
	return err == nil || ok
}

// maxAnswer bounds what a guest may answer.
const maxAnswer = 64 << 10

// ReadAnswer reads what the guest wrote to stdout. The error is the guest's, an
// *api.Error; after one of KindDiskLimit, KindConflict, KindUnsafe and
// KindCanceled nothing was changed. An answer that makes no sense is KindInternal.
func ReadAnswer(b []byte) (unpack.Answer, error) {
	var doc unpack.Document
	if len(b) > maxAnswer {
		return unpack.Answer{}, api.Errorf(api.KindInternal, "the sandbox answered the push with more than %d bytes", maxAnswer)
	}
	if len(b) == 0 {
		return unpack.Answer{}, api.Errorf(api.KindInternal, "the sandbox did not answer the push")
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return unpack.Answer{}, api.Errorf(api.KindInternal, "the sandbox's answer to the push cannot be read: %w", err)
	}
	switch {
	case doc.Error != nil:
		return unpack.Answer{}, guestError(doc.Error)
	case doc.Answer == nil:
		return unpack.Answer{}, api.Errorf(api.KindInternal, "the sandbox's answer to the push says nothing")
	}
	return *doc.Answer, nil
}

// guestError makes the error of the table. The guest is not trusted with others
// than the kinds of package unpack.
func guestError(e *unpack.Error) *api.Error {
	err := api.Errorf(api.KindInternal, "%s", e.Message)
	switch e.Kind {
	case unpack.DiskLimit:
		err.Kind = api.KindDiskLimit
		return err.WithHint("remove what is not needed in the workspace, or make one with a larger disk")
	case unpack.Conflict:
		err.Kind = api.KindConflict
		return err.WithHint("remove or rename it in the workspace, or push to another destination with --dest")
	case unpack.Unsafe:
		err.Kind = api.KindUnsafe
	case unpack.Canceled:
		err.Kind = api.KindCanceled
	}
	return err
}
