package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pyro/api"
)

// keyBytes is the length of a key.
const keyBytes = 32

// Key encrypts the secrets of one installation.
type Key struct{ aead cipher.AEAD }

// OpenKey reads the key in the file path; with create it makes one if there is
// none, for which there must be one caller at a time. Without create a missing one is an error of kind verification: what was
// sealed with it is lost.
func OpenKey(path string, create bool) (*Key, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		b, err = createKey(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, api.Errorf(api.KindVerification, "the key %s is gone", path)
	case err != nil:
		return nil, api.Errorf(api.KindStorage, "the key %s: %w", path, err).WithHint("check the disk and the owner of the file")
	case len(b) != keyBytes:
		return nil, api.Errorf(api.KindVerification, "the key %s is damaged: it has %d bytes, not %d", path, len(b), keyBytes)
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "the key %s: %w", path, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "the key %s: %w", path, err)
	}
	return &Key{aead}, nil
}

// RemoveUnfinished removes what a process left that was killed while it made the
// key in the file path.
func RemoveUnfinished(path string) { _ = os.Remove(unfinished(path)) } // nearly always there is nothing

func unfinished(path string) string { return path + ".tmp" }

// createKey makes a key that is on the disk, whole, before anything is sealed
// with it. It never replaces one.
func createKey(path string) ([]byte, error) {
	f, err := os.OpenFile(unfinished(path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	b := make([]byte, keyBytes)
	rand.Read(b)
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return b, errors.Join(dir.Sync(), dir.Close())
}

// sealed is the file that Seal makes.
type sealed struct {
	Secrets []api.SecretInfo `json:"secrets"`
	Sealed  []byte           `json:"sealed"`
}

// bound is what is authenticated, but not encrypted.
func bound(owner string, infos []api.SecretInfo) ([]byte, error) {
	return json.Marshal(struct {
		Owner   string           `json:"owner"`
		Secrets []api.SecretInfo `json:"secrets"`
	}{owner, infos})
}

// Seal encrypts secrets for their owner.
func (k *Key) Seal(owner string, all []Secret) ([]byte, error) {
	values := make([]string, len(all))
	for i, s := range all {
		values[i] = s.Value
	}
	plain, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	infos := Infos(all)
	data, err := bound(owner, infos)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{infos, k.aead.Seal(nil, nil, plain, data)})
}

// Open gives back what Seal took. The error is of kind verification, and says
// nothing of what was sealed.
func (k *Key) Open(owner string, file []byte) ([]Secret, error) {
	infos, err := Names(file)
	if err != nil {
		return nil, err
	}
	var f sealed
	_ = json.Unmarshal(file, &f) // Names has read it too
	data, err := bound(owner, infos)
	if err != nil {
		return nil, err
	}
	plain, err := k.aead.Open(nil, nil, f.Sealed, data)
	if err != nil {
		return nil, api.Errorf(api.KindVerification, "they are damaged, or were sealed for another owner or with another key")
	}
	var values []string
	if json.Unmarshal(plain, &values) != nil || len(values) != len(infos) {
		return nil, api.Errorf(api.KindVerification, "they are damaged")
	}
	all := make([]Secret, len(values))
	for i, v := range values {
		all[i] = Secret{infos[i].Name, infos[i].SourceKind, v}
	}
	return all, nil
}

// Names reads of a sealed file what needs no key.
func Names(file []byte) ([]api.SecretInfo, error) {
	var f sealed
	if json.Unmarshal(file, &f) != nil || len(f.Secrets) == 0 || len(f.Secrets) > MaxCount {
		return nil, api.Errorf(api.KindVerification, "they are damaged")
	}
	return f.Secrets, nil
}
