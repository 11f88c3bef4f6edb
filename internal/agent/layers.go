package agent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pyro/internal/agent/layer"
	"pyro/internal/agent/wire"
	"pyro/internal/frame"
)

var (
	longAgo    = time.Unix(1, 0)
	noDeadline time.Time
)

// layerOf is where the writable layer of a mount is. The file systems are
// mounted nowhere that a command could see.
type layerOf struct {
	disk  *os.File // its file system
	upper string   // the folder, through a descriptor
}

// Commands of ioctl, include/uapi/linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// exportLayers sends the layers that the host asks for.
func (s *streams) exportLayers(conn net.Conn, p wire.LayersParams) {
	out := frame.NewWriter(conn)
	if err := s.sendLayers(out, p.Mounts); err != nil {
		_ = out.WriteJSON(wire.FrameFailed, failed(err)) // an error means that nobody is there
		return
	}
	_ = out.Write(wire.FrameEnd, nil)
}

// layerBuffer is what is sent at once: a frame for every small file, and each of its
// headers, would cost more than the files.
const layerBuffer = 256 << 10

func (s *streams) sendLayers(out *frame.Writer, mounts []string) error {
	for _, mount := range mounts {
		l, ok := s.layers[mount]
		if !ok {
			return &wire.Error{Kind: wire.KindNotFound, Message: fmt.Sprintf("%q has no layer of its own", mount)}
		}
		thaw, err := l.freeze()
		if err != nil {
			return err
		}
		defer thaw()
	}
	for _, mount := range mounts {
		if err := out.WriteJSON(wire.FrameLayer, wire.Layer{Mount: mount}); err != nil {
			return err
		}
		zeros := func(n int64) error { return out.WriteJSON(wire.FrameZeros, wire.Zeros{Count: n}) }
		buffered := bufio.NewWriterSize(&layer.Zeros{W: framed{out}, Skip: zeros}, layerBuffer)
		if err := layer.Export(s.layers[mount].upper, buffered); err != nil {
			return fmt.Errorf("layer of %s: %w", mount, err)
		}
		if err := buffered.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// freeze makes writers wait.
func (l layerOf) freeze() (thaw func(), err error) {
	if err := unix.IoctlSetInt(int(l.disk.Fd()), fiFreeze, 0); err != nil {
		return nil, fmt.Errorf("freeze the disk: %w", err)
	}
	return func() { _ = unix.IoctlSetInt(int(l.disk.Fd()), fiThaw, 0) }, nil
}

// framed sends bytes in frames.
type framed struct{ out *frame.Writer }

func (f framed) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, frame.MaxPayload)
		if err := f.out.Write(wire.FrameBytes, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

var _ io.Writer = framed{}
