package card

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// request is a message to the kernel, netlink(7).
type request struct {
	what        string // for an error
	kind, flags uint16
	body        []byte
	attributes  []attribute
}

type attribute struct {
	kind  uint16
	value []byte
}

// encode gives a value of fixed size as the kernel has it in memory.
func encode(v any) []byte {
	b, err := binary.Append(nil, binary.NativeEndian, v)
	if err != nil {
		panic(err) // v has no fixed size
	}
	return b
}

// message is the request as it goes to the kernel.
func (r request) message(sequence uint32) []byte {
	b := bytes.NewBuffer(make([]byte, unix.NLMSG_HDRLEN))
	b.Write(r.body)
	for _, a := range r.attributes {
		pad(b)
		b.Write(encode([2]uint16{uint16(unix.SizeofRtAttr + len(a.value)), a.kind}))
		b.Write(a.value)
	}
	pad(b)
	copy(b.Bytes(), encode(unix.NlMsghdr{
		Len: uint32(b.Len()), Type: r.kind, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | r.flags, Seq: sequence,
	}))
	return b.Bytes()
}

func pad(b *bytes.Buffer) {
	for b.Len()%unix.NLMSG_ALIGNTO != 0 {
		b.WriteByte(0)
	}
}

// make sends the request and waits for the kernel's answer.
func (r request) make(fd int, sequence uint32) error {
	if err := unix.Sendto(fd, r.message(sequence), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	reply := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, reply, 0)
	if err != nil {
		return err
	}
	return answer(reply[:n])
}

// answer reads the acknowledgement of a request.
func answer(reply []byte) error {
	if len(reply) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(reply[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is not understood")
	}
	if code := int32(binary.NativeEndian.Uint32(reply[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
