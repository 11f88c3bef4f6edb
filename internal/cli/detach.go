package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"pyro/api"
)

// defaultDetachKeys are those of docker and podman.
const defaultDetachKeys = "ctrl-p,ctrl-q"

func detachFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("detach-keys", defaultDetachKeys, "what to type to detach: `KEYS` are letters and ctrl-LETTER, with commas; empty for none")
}

// detachBytes returns what a terminal sends for the keys: "ctrl-p,ctrl-q", "ctrl-a,d".
func detachBytes(keys string) (string, error) {
	if keys == "" {
		return "", nil
	}
	var sent []byte
	for key := range strings.SplitSeq(keys, ",") {
		b, ok := keyByte(key)
		if !ok {
			return "", api.Errorf(api.KindUsage, "--detach-keys: %q is no key", key).
				WithHint("write single characters and ctrl- with one of a to z, @, [, \\, ], ^ and _, with commas between, as in %s", defaultDetachKeys)
		}
		sent = append(sent, b)
	}
	return string(sent), nil
}

func keyByte(key string) (byte, bool) {
	letter, ctrl := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	switch {
	case ctrl && len(letter) == 1:
		const controls = `@abcdefghijklmnopqrstuvwxyz[\]^_` // in the order of their codes
		i := strings.Index(controls, letter)
		return byte(i), i >= 0
	case !ctrl && len(key) == 1:
		return key[0], key[0] > ' ' && key[0] < 0x7f
	}
	return 0, false
}

// detacher looks for the keys in what is typed. What may yet become the keys is
// held back until the next key decides.
type detacher struct {
	keys string
	held string // a beginning of keys
}

// feed returns what is to be typed of p, and whether the keys were in it; what
// follows them is lost.
func (d *detacher) feed(p []byte) (typed []byte, detached bool) {
	if len(d.keys) == 0 {
		return p, false
	}
	for _, b := range p {
		d.held += string([]byte{b})
		for !strings.HasPrefix(d.keys, d.held) {
			typed = append(typed, d.held[0])
			d.held = d.held[1:]
		}
		if len(d.held) == len(d.keys) {
			return typed, true
		}
	}
	return typed, false
}
