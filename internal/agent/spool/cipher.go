package spool

import (
	"crypto/aes"
	gocipher "crypto/cipher"
	"crypto/rand"
	"encoding/binary"
)

// cipher encrypts and decrypts bytes by their cursor, with AES-128 in counter
// mode (NIST SP 800-38A). A cursor is never used for two bytes, and so no part of
// the key stream is.
type cipher struct{ block gocipher.Block }

func newCipher() cipher {
	key := make([]byte, 16)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("spool: " + err.Error()) // keys of 16 bytes are allowed
	}
	return cipher{block}
}

// crypt returns p, which begins at a cursor, encrypted if it was plain and plain
// if it was encrypted.
func (c cipher) crypt(at int64, p []byte) []byte {
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(at/aes.BlockSize))
	skip := int(at % aes.BlockSize)
	out := make([]byte, skip+len(p))
	copy(out[skip:], p)
	gocipher.NewCTR(c.block, counter[:]).XORKeyStream(out, out)
	return out[skip:]
}
