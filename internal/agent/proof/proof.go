// Package proof lets the two ends of a connection show each other that they know
// the same key, where anybody could have opened it, or have answered.
//
// Every process of the host may connect to a machine's vsock port, and once a
// machine has ended, another may have its CID. So what comes first is
//
//	host   a random number H
//	guest  a random number G, and HMAC-SHA256(key, "guest" H G)
//	host   HMAC-SHA256(key, "host" H G)
//
// and nothing else until the other end's proof was right. The key is never sent,
// and a proof is of use for one connection only.
package proof

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// NewKey makes a key.
func NewKey() []byte { return random() }

// ErrUnproven says that the other end does not know the key.
var ErrUnproven = errors.New("the other end does not know the machine's key")

// Host is the host's side. The caller sees to a deadline.
func Host(conn io.ReadWriter, key []byte) error {
	mine := random()
	if _, err := conn.Write(mine); err != nil {
		return err
	}
	said := make([]byte, KeySize+sha256.Size)
	if _, err := io.ReadFull(conn, said); err != nil {
		return err
	}
	theirs := said[:KeySize]
	if !hmac.Equal(said[KeySize:], sign(key, "guest", mine, theirs)) {
		return ErrUnproven
	}
	_, err := conn.Write(sign(key, "host", mine, theirs))
	return err
}

// Guest is the guest's side. The caller sees to a deadline.
func Guest(conn io.ReadWriter, key []byte) error {
	theirs, mine := make([]byte, KeySize), random()
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return err
	}
	if _, err := conn.Write(append(mine, sign(key, "guest", theirs, mine)...)); err != nil {
		return err
	}
	said := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, said); err != nil {
		return err
	}
	if !hmac.Equal(said, sign(key, "host", theirs, mine)) {
		return ErrUnproven
	}
	return nil
}

func random() []byte {
	b := make([]byte, KeySize)
	rand.Read(b)
	return b
}

func sign(key []byte, who string, host, guest []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(who))
	h.Write(host)
	h.Write(guest)
	return h.Sum(nil)
}
