package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pyro/internal/frame"
)

// Tunnel makes a fresh stream to the agent a connection to a port of the guest's
// loopback, or of whatever it listens on. After the agent's reply to Connect, its
// only call, the stream carries the connection's bytes and nothing else; the end
// of one direction is passed on. The error is an *Error of kind not_found if
// nothing listens there. Cancelling ctx closes stream; so does an error.
func Tunnel(ctx context.Context, stream io.ReadWriteCloser, port uint16) error {
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	err := connect(stream, port)
	if err != nil {
		stream.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

func connect(stream io.ReadWriter, port uint16) error {
	in := frame.NewReader(stream) // takes no byte beyond a frame
	if _, err := readHello(in); err != nil {
		return err
	}
	params, err := json.Marshal(ConnectParams{Port: port})
	if err != nil {
		return err
	}
	if err := frame.NewWriter(stream).WriteJSON(FrameCall, Call{ID: 1, Method: Connect, Params: params}); err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	t, payload, err := in.Next()
	if err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	var reply Reply
	switch {
	case t != FrameReply || json.Unmarshal(payload, &reply) != nil || reply.ID != 1:
		return errors.New("the guest agent's reply is not understood")
	case reply.Error != "" && reply.Kind != "":
		return &Error{Kind: knownKind(reply.Kind), Message: reply.Error}
	case reply.Error != "":
		return fmt.Errorf("guest agent: %s", reply.Error)
	}
	return nil
}
