package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pyro/api"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
	"pyro/internal/runtime"
)

// A saved disk is a folder:
//
//	root.tar         the layer of /
//	workspace.tar    the layer of /workspace, if it has one
//	layers.json      the sizes of both, written last
//
// The tars are in the form of runtime.LayerExporter, but for files with holes, which
// are entries of package holes. They are sparse files: zeros take no room in them.
const diskFileName = "layers.json"

// The format of the folder.
const (
	diskFormat      = 2
	diskFormatPlain = 1 // holes are zeros: of earlier versions, which read no other
)

// layerFile is the file of a mount's layer.
func layerFile(mount string) string {
	if mount == runtime.RootMount {
		return "root.tar"
	}
	return "workspace.tar"
}

// savedDisk is layers.json.
type savedDisk struct {
	Format int              `json:"format"`
	Sizes  map[string]int64 `json:"sizes"` // in bytes, by mount
}

// receiver takes layers as they come.
type receiver interface {
	begin(mount string) error
	io.Writer
	zeros(n int64) error
}

// maxZeros bounds one run, as ext4 bounds a file.
const maxZeros = 16 << 40

// layers has the agent send layers to r.
func (m *machine) layers(ctx context.Context, mounts []string, r receiver) error {
	conn, err := m.open(ctx, wire.Open{Service: wire.ServiceLayers, Layers: &wire.LayersParams{Mounts: mounts}})
	if err != nil {
		return m.OrEnded(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = receive(frame.NewReader(conn), r)
	switch e, guest := errors.AsType[*guestError](err); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return api.Errorf(api.KindCanceled, "sandbox %s: reading its layers: %w", m.ID(), context.Cause(ctx))
	case guest:
		return api.Errorf(api.KindInternal, "sandbox %s: %s", m.ID(), e.Message)
	}
	if _, host := errors.AsType[*fs.PathError](err); host {
		return storageError("sandbox "+m.ID()+": layer", err)
	}
	return m.OrEnded(err)
}

// guestError is what the agent says.
type guestError struct{ wire.Failed }

func (e *guestError) Error() string { return e.Message }

// receive reads layers up to their end.
func receive(in *frame.Reader, r receiver) error {
	begun := false
	for {
		t, payload, err := in.Next()
		if err != nil {
			return err
		}
		switch t {
		case wire.FrameLayer:
			var l wire.Layer
			if err = json.Unmarshal(payload, &l); err == nil {
				err = r.begin(l.Mount)
			}
			begun = true
		case wire.FrameBytes:
			if !begun {
				return errors.New("bytes of no layer")
			}
			_, err = r.Write(payload)
		case wire.FrameZeros:
			var z wire.Zeros
			if err = json.Unmarshal(payload, &z); err == nil && (z.Count < 0 || z.Count > maxZeros || !begun) {
				err = fmt.Errorf("%d zeros of a layer", z.Count)
			}
			if err == nil {
				err = r.zeros(z.Count)
			}
		case wire.FrameFailed:
			e := &guestError{}
			if err = json.Unmarshal(payload, &e.Failed); err == nil {
				err = e
			}
		case wire.FrameEnd:
			return nil
		default:
			err = fmt.Errorf("unexpected frame of type %d", t)
		}
		if err != nil {
			return err
		}
	}
}

// ExportLayer implements runtime.LayerExporter.
func (m *machine) ExportLayer(ctx context.Context, w io.Writer) error {
	in, out := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := m.layers(ctx, []string{runtime.RootMount}, &writerReceiver{Writer: out})
		out.CloseWithError(err)
		sent <- err
	}()
	err := plain("sandbox "+m.ID(), in, w)
	in.CloseWithError(errTooMuch)
	if sendErr := <-sent; err == nil || sendErr != nil && errors.Is(err, sendErr) {
		err = sendErr
	}
	return err
}

var errTooMuch = errors.New("more bytes than the layer has")

// writerReceiver passes one layer on.
type writerReceiver struct {
	io.Writer
	begun bool
}

func (r *writerReceiver) begin(string) error {
	if r.begun {
		return errors.New("more layers than were asked for")
	}
	r.begun = true
	return nil
}

func (r *writerReceiver) zeros(n int64) error {
	_, err := io.CopyN(r.Writer, zeroReader{}, n)
	return err
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// SaveDisk implements runtime.DiskSaver.
func (m *machine) SaveDisk(ctx context.Context, dir string, mounts ...string) error {
	if len(mounts) == 0 {
		mounts = []string{runtime.RootMount}
		if m.rec.Spec.Workspace != "" {
			mounts = append(mounts, runtime.WorkspaceMount)
		}
	}
	r := &folderReceiver{dir: dir, want: mounts, sizes: map[string]int64{}, most: mostOf(m.rec.Spec)}
	err := m.layers(ctx, mounts, r)
	if closeErr := r.end(); err == nil && closeErr != nil {
		err = storageError("disk snapshot "+dir, closeErr)
	}
	if err == nil && len(r.want) > 0 {
		err = api.Errorf(api.KindInternal, "sandbox %s: the agent did not send the layer of %s", m.ID(), r.want[0])
	}
	if err != nil {
		return err
	}
	b, err := json.Marshal(savedDisk{Format: diskFormat, Sizes: r.sizes})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, diskFileName), b, 0o600)
	}
	if err != nil {
		return storageError("disk snapshot "+dir, err)
	}
	return nil
}

// mostOf bounds a layer, more generously than any needs that is on a disk of that
// size: holes beside data may make four times of it, and the headers of as many files
// as pyro reads take 3 GiB. What an agent sends has no end of its own.
func mostOf(s runtime.Spec) int64 { return 8*s.DiskBytes + 4<<30 }

// frameCost is what a frame of bytes may take besides them: where it begins and ends
// in a page that is otherwise a hole.
const frameCost = 4 << 10

// folderReceiver writes layers into a folder, as sparse files.
type folderReceiver struct {
	dir   string
	want  []string // mounts that are still to come
	sizes map[string]int64
	most  int64 // bytes of each layer
	file  *os.File
	mount string
	size  int64
	left  int64 // of most
}

func (r *folderReceiver) begin(mount string) error {
	if err := r.end(); err != nil {
		return err
	}
	if len(r.want) == 0 || r.want[0] != mount {
		return fmt.Errorf("the layer of %q was not asked for", mount)
	}
	r.want = r.want[1:]
	f, err := os.OpenFile(filepath.Join(r.dir, layerFile(mount)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	r.file, r.mount, r.size, r.left = f, mount, 0, r.most
	return err
}

func (r *folderReceiver) Write(p []byte) (int, error) {
	if err := r.charge(int64(len(p)) + frameCost); err != nil {
		return 0, err
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

func (r *folderReceiver) zeros(n int64) error {
	if err := r.charge(n); err != nil {
		return err
	}
	r.size += n
	_, err := r.file.Seek(n, io.SeekCurrent)
	return err
}

// charge counts what comes, zeros too: they take no room, but are read to be hashed.
func (r *folderReceiver) charge(n int64) error {
	if r.left -= n; r.left < 0 {
		return fmt.Errorf("the layer of %s is larger than any on its disk can be", r.mount)
	}
	return nil
}

// end finishes the file of a layer.
func (r *folderReceiver) end() error {
	if r.file == nil {
		return nil
	}
	err := errors.Join(r.file.Truncate(r.size), r.file.Close())
	r.sizes[r.mount] = r.size
	r.file = nil
	return err
}
