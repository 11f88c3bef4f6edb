package workspace

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pyro/api"
	"pyro/internal/agent/unpack"
	"pyro/internal/agent/unpack/feed"
	"pyro/internal/agent/wire"
	"pyro/internal/redact"
)

// withFiles begins an operation on files. A stopped workspace is started. An agent
// of an older pyro is found out first: it would take a removal for a new file.
func (m *Manager) withFiles(ctx context.Context, id string, f func(*instance, *life) error) error {
	in, leave, err := m.enter(id)
	if err != nil {
		return err
	}
	defer leave()
	return m.onMachine(ctx, in, func(l *life) error {
		if err := in.knowsFiles(ctx, l); err != nil {
			return err
		}
		return f(in, l)
	})
}

// knowsFiles sees that the machine's agent is one of those that list and edit
// files: a machine that an older pyro has started has the agent of that.
func (in *instance) knowsFiles(ctx context.Context, l *life) error {
	var root wire.FileStatResult
	err := l.ask(ctx, wire.FileStat, wire.FileParams{}, &root)
	if err != nil && strings.HasSuffix(err.Error(), fmt.Sprintf("method %q is not known", wire.FileStat)) {
		return api.Errorf(api.KindUnsupported, "the sandbox of %s was started by an older pyro and cannot do that", in.what()).
			WithHint("save it and begin a new one: pyro workspace stop %s", in.id)
	}
	if err != nil {
		return fileError(in, err)
	}
	return nil
}

// fileError gives an error of the agent's about a path its hint.
func fileError(in *instance, err error) error {
	e := api.AsError(err)
	switch e.Kind {
	case api.KindNotFound:
		return e.WithHint("see what there is: pyro workspace file list %s", in.id)
	case api.KindUnsafe, api.KindUsage:
		return e.WithHint("give a path below %s", api.WorkspacePath)
	case api.KindConflict:
		return e.WithHint("see what is there: pyro workspace file list %s --recursive", in.id)
	}
	return e
}

// ListFiles lists what is in a folder of the workspace.
func (m *Manager) ListFiles(ctx context.Context, req api.ListFilesRequest) (api.FileList, error) {
	if req.MaxEntries > api.MaxFileEntries {
		return api.FileList{}, api.Errorf(api.KindUsage, "max_entries is %d, at most %d are possible", req.MaxEntries, api.MaxFileEntries).
			WithHint("read the rest with further calls, each with the next_cursor of the last")
	}
	after, err := decodeCursor(req.Cursor)
	if err != nil {
		return api.FileList{}, err
	}
	var list api.FileList
	err = m.withFiles(ctx, req.WorkspaceID, func(in *instance, l *life) error {
		list, err = in.listFiles(ctx, l, req, after)
		return err
	})
	return list, err
}

func (in *instance) listFiles(ctx context.Context, l *life, req api.ListFilesRequest, after []byte) (api.FileList, error) {
	list := api.FileList{WorkspaceID: in.id, Entries: []api.FileEntry{}}
	for more := true; more && len(list.Entries) < req.MaxEntries; {
		params := wire.FileListParams{Path: []byte(req.Path), Recursive: req.Recursive, After: after, Max: req.MaxEntries - len(list.Entries)}
		var res wire.FileListResult
		if err := l.ask(ctx, wire.FileList, params, &res); err != nil {
			return list, fileError(in, err)
		}
		if len(res.Files) > params.Max {
			return list, api.Errorf(api.KindInternal, "the guest agent of %s lists more than it was asked for", in.what())
		}
		list.Path, more = filePath(res.Path), res.More && len(res.Files) > 0
		for _, f := range res.Files {
			list.Entries = append(list.Entries, fileEntry(f))
			after = f.Path
		}
		list.Truncated = more
	}
	if list.Truncated {
		list.NextCursor = base64.RawURLEncoding.EncodeToString(after)
	}
	return list, nil
}

func decodeCursor(cursor string) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, api.Errorf(api.KindUsage, "%.80q is not the next_cursor of a list", cursor).WithHint("leave it out to begin anew")
	}
	return after, nil
}

// fileEntry is an entry of the agent's telling.
func fileEntry(f wire.File) api.FileEntry {
	e := api.FileEntry{
		Path: filePath(f.Path), ArtifactType: validText(f.Type), Size: max(f.Size, 0), Mode: octal(f.Mode),
		ModifiedAt: fileTime(f.MTime), LinkTarget: validText(string(f.Target)),
	}
	if !utf8.Valid(f.Path) {
		e.PathBase64 = base64.StdEncoding.EncodeToString(f.Path)
	}
	return e
}

func filePath(b []byte) string { return cmp.Or(validText(string(b)), ".") }

func octal(mode uint32) string { return fmt.Sprintf("%04o", mode&0o7777) }

// ReadFile returns a part of a file.
func (m *Manager) ReadFile(ctx context.Context, req api.ReadFileRequest) (api.FileContent, error) {
	if err := checkRead(req); err != nil {
		return api.FileContent{}, err
	}
	var c api.FileContent
	err := m.withFiles(ctx, req.WorkspaceID, func(in *instance, l *life) (err error) {
		c, err = in.readFile(ctx, l, req)
		return err
	})
	return c, err
}

func checkRead(req api.ReadFileRequest) error {
	switch {
	case req.MaxBytes > api.MaxOutput:
		return api.Errorf(api.KindUsage, "max_bytes is %d, at most %d are possible", req.MaxBytes, api.MaxOutput).
			WithHint("read the rest with further calls, each with the next_offset of the last; or take the whole: pyro workspace export")
	case req.Offset != nil && req.StartLine != nil:
		return api.Errorf(api.KindUsage, "offset and start_line are both set").WithHint("choose one")
	case req.StartLine != nil && *req.StartLine < 1:
		return api.Errorf(api.KindUsage, "start_line is %d, the first line is 1", *req.StartLine)
	}
	return nil
}

func (in *instance) readFile(ctx context.Context, l *life, req api.ReadFileRequest) (api.FileContent, error) {
	params := wire.FileReadParams{Path: []byte(req.Path), MaxLines: int64(req.MaxLines)}
	if req.Offset != nil {
		params.Offset = int64(*req.Offset)
	}
	if req.StartLine != nil {
		params.StartLine = int64(*req.StartLine)
	}
	var first wire.FileReadResult
	data, begin, end := []byte(nil), int64(0), false
	for len(data) < req.MaxBytes && !end {
		params.Max = min(req.MaxBytes-len(data), wire.MaxData)
		var res wire.FileReadResult
		if err := l.ask(ctx, wire.FileRead, params, &res); err != nil {
			return api.FileContent{}, fileError(in, err)
		}
		if len(res.Data) > params.Max || res.Offset < 0 {
			return api.FileContent{}, api.Errorf(api.KindInternal, "the guest agent of %s answers more than it was asked for", in.what())
		}
		if data == nil {
			first, begin = res, res.Offset
		}
		data, end = append(data, res.Data...), res.End
		params.Offset, params.StartLine = begin+int64(len(data)), 0
		if params.MaxLines > 0 {
			if params.MaxLines -= res.Lines; params.MaxLines <= 0 {
				break
			}
		}
		if len(res.Data) == 0 {
			break
		}
	}
	c, kept := in.content(first.File, data, begin, end, req.MaxBytes)
	return c, in.hideContent(ctx, l, req.Path, kept, &c)
}

// hideContent takes the secrets out of kept, which is what c is about. Secrets that
// the part cuts in two count too.
func (in *instance) hideContent(ctx context.Context, l *life, path string, kept []byte, c *api.FileContent) error {
	hide, err := in.hidden()
	if err != nil {
		*c = api.FileContent{}
		return err
	}
	if hide == nil {
		return nil
	}
	reach := int64(hide.Longest() - 1)
	from := max(c.Offset-reach, 0)
	before, err := in.piece(ctx, l, path, from, c.Offset-from)
	if err != nil {
		return err
	}
	after, err := in.piece(ctx, l, path, c.NextOffset, reach)
	if err != nil {
		return err
	}
	text := slices.Concat(before, kept, after)
	spans, _ := findAll(hide, text, from > 0)
	shown := redact.Replace(text, spans, len(before), len(before)+len(kept))
	if bytes.Equal(shown, kept) {
		return nil
	}
	c.Redacted, c.SHA256, c.Content = true, "", string(shown)
	if c.Encoding == string(api.Base64) {
		c.Content = base64.StdEncoding.EncodeToString(shown)
	}
	return nil
}

// piece reads n bytes of a file from an offset on, less at its end.
func (in *instance) piece(ctx context.Context, l *life, path string, offset, n int64) ([]byte, error) {
	var data []byte
	for int64(len(data)) < n {
		params := wire.FileReadParams{Path: []byte(path), Offset: offset + int64(len(data)), Max: int(min(n-int64(len(data)), wire.MaxData))}
		var res wire.FileReadResult
		if err := l.ask(ctx, wire.FileRead, params, &res); err != nil {
			return nil, fileError(in, err)
		}
		if len(res.Data) > params.Max {
			return nil, api.Errorf(api.KindInternal, "the guest agent of %s answers more than it was asked for", in.what())
		}
		if data = append(data, res.Data...); res.End || len(res.Data) == 0 {
			break
		}
	}
	return data, nil
}

// content makes the answer of bytes that begin at an offset of a file, and returns
// those of them that it holds.
func (in *instance) content(f wire.File, data []byte, begin int64, end bool, most int) (_ api.FileContent, kept []byte) {
	c := api.FileContent{
		WorkspaceID: in.id, Path: filePath(f.Path), Size: max(f.Size, 0), Mode: octal(f.Mode), ModifiedAt: fileTime(f.MTime), Offset: begin,
	}
	kept = data
	if !end {
		kept = wholeRunes(data)
	}
	if utf8.Valid(kept) && bytes.IndexByte(kept, 0) < 0 {
		c.Encoding, c.Content = string(api.UTF8), string(kept)
	} else {
		// Base64 is to fit too.
		kept = data[:min(len(data), max(1, most/4*3))]
		c.Encoding, c.Content = string(api.Base64), base64.StdEncoding.EncodeToString(kept)
	}
	c.NextOffset = begin + int64(len(kept))
	c.Truncated = !end || len(kept) < len(data)
	if begin == 0 && !c.Truncated {
		c.SHA256 = feed.Sum(kept)
	}
	return c, kept
}

// wholeRunes leaves out the beginning of a character at the end, but never
// everything.
func wholeRunes(b []byte) []byte {
	for n := 1; n < utf8.UTFMax && n < len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-n:]) {
				return b[:len(b)-n]
			}
			return b
		}
	}
	return b
}

// decode returns the bytes of a text of a request.
func decode(what, text string, encoding api.Encoding) ([]byte, error) {
	b := []byte(text)
	if encoding == api.Base64 {
		var err error
		if b, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, api.Errorf(api.KindUsage, "%s is not base64: %w", what, err).WithHint("leave encoding out for text")
		}
	}
	if len(b) > api.MaxFileWrite {
		return nil, api.Errorf(api.KindUsage, "%s has %d bytes, at most %d are possible", what, len(b), api.MaxFileWrite).
			WithHint("push larger files: pyro workspace sync push")
	}
	return b, nil
}

// WriteFile writes a whole file.
func (m *Manager) WriteFile(ctx context.Context, req api.WriteFileRequest) (api.WrittenFile, error) {
	data, err := decode("content", req.Content, req.Encoding)
	if err != nil {
		return api.WrittenFile{}, err
	}
	edit := feed.Edit{Data: data, Mode: 0o644, Expect: unpack.ExpectFile}
	if err := prepare(req, &edit); err != nil {
		return api.WrittenFile{}, err
	}
	var res api.WrittenFile
	err = m.withFiles(ctx, req.WorkspaceID, func(in *instance, l *life) (err error) {
		res, err = m.writeFile(ctx, in, l, req, edit)
		return err
	})
	return res, err
}

// prepare checks what a request to write says beside its content.
func prepare(req api.WriteFileRequest, edit *feed.Edit) error {
	sum := strings.ToLower(req.ExpectedSHA256)
	switch {
	case req.CreateOnly && sum != "":
		return api.Errorf(api.KindUsage, "create_only and expected_sha256 are both set").WithHint("choose one")
	case req.CreateOnly:
		edit.Expect = unpack.ExpectAbsent
	case sum != "" && (len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != ""):
		return api.Errorf(api.KindUsage, "expected_sha256 %.80q is not 64 hexadecimal digits", sum).
			WithHint("take the sha256 that reading the file gives")
	case sum != "":
		edit.Expect = unpack.ExpectSum + sum
	}
	if req.Mode == "" {
		return nil
	}
	mode, err := strconv.ParseUint(req.Mode, 8, 32)
	if err != nil || mode > 0o777 {
		return api.Errorf(api.KindUsage, "mode %.80q is not made of three octal digits", req.Mode).WithHint("use for example 0644 or 0755")
	}
	edit.Mode = uint32(mode)
	return nil
}

func (m *Manager) writeFile(ctx context.Context, in *instance, l *life, req api.WriteFileRequest, edit feed.Edit) (api.WrittenFile, error) {
	var st wire.FileStatResult
	if err := l.ask(ctx, wire.FileStat, wire.FileParams{Path: []byte(req.Path)}, &st); err != nil {
		return api.WrittenFile{}, fileError(in, err)
	}
	edit.Path = string(st.File.Path)
	name := api.WorkspacePath + "/" + validText(edit.Path)
	if st.Exists && st.File.Type != wire.FileRegular {
		return api.WrittenFile{}, fileError(in, api.Errorf(api.KindConflict, "%q is a %s, not a file", name, validText(st.File.Type)))
	}
	if strings.HasSuffix(req.Path, "/") || edit.Path == "" {
		return api.WrittenFile{}, fileError(in, api.Errorf(api.KindUsage, "%q is the name of a folder", req.Path))
	}
	if st.Exists {
		edit.UID, edit.GID = int(st.File.UID), int(st.File.GID)
		if req.Mode == "" {
			edit.Mode = st.File.Mode
		}
	}
	defer l.touched()
	if err := m.put(ctx, l, feed.Edits{edit}); err != nil {
		return api.WrittenFile{}, writeError(in, api.AsError(err))
	}
	return api.WrittenFile{
		WorkspaceID: in.id, Path: filePath([]byte(edit.Path)), Created: !st.Exists, Size: int64(len(edit.Data)), Mode: octal(edit.Mode), SHA256: feed.Sum(edit.Data),
	}, nil
}

// writeError tells what to do when the file is not as expected.
func writeError(in *instance, err *api.Error) error {
	if err.Kind == api.KindConflict {
		return err.WithHint("read it and decide again: pyro workspace file read %s PATH", in.id)
	}
	return err
}

// put lets the agent put edits in place, all or none: by one call if they are
// small, else by a process that they are streamed to.
func (m *Manager) put(ctx context.Context, l *life, edits feed.Edits) error {
	size := 0
	for _, e := range edits {
		size += len(e.Data) + len(e.Path) + len(e.Target) + 2048 // of headers
	}
	if size > wire.MaxData {
		return m.send(ctx, l, edits, "")
	}
	var stream bytes.Buffer
	if err := feed.Send(ctx, &stream, edits); err != nil {
		return err
	}
	if err := m.hit("push-sent"); err != nil {
		return err
	}
	var doc json.RawMessage
	// What was asked for is done even if the caller goes away: wait for it.
	if err := l.ask(context.WithoutCancel(ctx), wire.Unpack, wire.UnpackParams{Stream: stream.Bytes()}, &doc); err != nil {
		return err
	}
	_, err := feed.ReadAnswer(doc)
	return err
}
