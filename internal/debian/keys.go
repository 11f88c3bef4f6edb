package debian

import (
	"bytes"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"pyro/api"
)

//go:embed keys/*.gpg
var archiveKeys embed.FS

// Keyring holds the public keys that may sign an archive.
type Keyring struct{ keys openpgp.EntityList }

// ArchiveKeys returns the keys of the Debian archive that come with this
// program. keys/README.md says where they are from.
func ArchiveKeys() Keyring {
	var k Keyring
	files, err := fs.Glob(archiveKeys, "keys/*.gpg")
	for _, name := range files {
		var b []byte
		var one Keyring
		if b, err = archiveKeys.ReadFile(name); err == nil {
			one, err = ReadKeyring(b)
		}
		if err != nil {
			break
		}
		k.keys = append(k.keys, one.keys...)
	}
	if err != nil {
		panic("the embedded keys of the Debian archive are damaged: " + err.Error())
	}
	return k
}

// ReadKeyring reads binary OpenPGP public keys, the form of the files in
// /usr/share/keyrings.
func ReadKeyring(b []byte) (Keyring, error) {
	keys, err := openpgp.ReadKeyRing(bytes.NewReader(b))
	if err != nil || len(keys) == 0 {
		return Keyring{}, api.Errorf(api.KindVerification, "the keyring cannot be read: %v", err).
			WithHint("give a binary OpenPGP keyring; gpg --dearmor makes one from a text file")
	}
	return Keyring{keys}, nil
}

var clearsignStart = []byte("-----BEGIN PGP SIGNED MESSAGE-----\n")

// verify returns the text that inRelease signs and the fingerprint of the key.
//
// The whole file must be one signed message: text before or after it looks
// signed to a human but is not. As with gpgv, a key that has expired since is
// good as long as it is in the ring: old releases are never signed anew.
func (k Keyring) verify(inRelease []byte) (text []byte, fingerprint string, err error) {
	if !bytes.HasPrefix(inRelease, clearsignStart) {
		return nil, "", errors.New("does not begin with a signed message")
	}
	block, rest := clearsign.Decode(inRelease)
	if block == nil {
		return nil, "", errors.New("is not a signed message")
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, "", errors.New("has text after its signature")
	}
	_, signer, err := openpgp.VerifyDetachedSignature(k.keys, bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, new(packet.Config))
	if err != nil && (!errors.Is(err, pgperrors.ErrKeyExpired) || signer == nil) {
		if errors.Is(err, pgperrors.ErrUnknownIssuer) {
			return nil, "", errors.New("is signed by none of the archive's keys")
		}
		return nil, "", fmt.Errorf("has a bad signature: %w", err)
	}
	return block.Bytes, hex.EncodeToString(signer.PrimaryKey.Fingerprint), nil
}
