package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"pyro/internal/agent/card"
	"pyro/internal/agent/wire"
)

// setNetwork does what the host asks for about the network.
func setNetwork(ctx context.Context, p wire.NetworkParams) error {
	if p.DropCard != "" {
		if err := card.Drop(p.DropCard); err != nil {
			return fmt.Errorf("network card %s: %w", p.DropCard, err)
		}
	}
	if p.Card != nil {
		if err := card.SetUp(*p.Card); err != nil {
			return fmt.Errorf("network card %s: %w", p.Card.Name, err)
		}
	}
	if p.ResolvConf != "" {
		if err := writeResolvConf("/etc", p.ResolvConf); err != nil {
			return err
		}
	}
	if p.AptSources != "" {
		if err := writeAptSources("/etc/apt", p.AptSources); err != nil {
			return err
		}
	}
	if p.Connect == "" {
		return nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.Connect)
	if err != nil {
		return err
	}
	return conn.Close()
}

// writeResolvConf replaces resolv.conf in the folder, also where it is a link to
// what another system would have written. An equal one is left alone, so that
// nothing changes on the disk.
func writeResolvConf(dir, text string) error {
	path := filepath.Join(dir, "resolv.conf")
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() && st.Size() == int64(len(text)) {
		if have, err := os.ReadFile(path); err == nil && string(have) == text {
			return nil
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	tmp := path + ".pyro"
	_ = os.Remove(tmp)
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// writeAptSources tells apt where the archive is, unless it knows or there is no
// apt; see sources.list(5).
func writeAptSources(dir, text string) error {
	if others, err := os.ReadDir(filepath.Join(dir, "sources.list.d")); err == nil && len(others) > 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, "sources.list"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
