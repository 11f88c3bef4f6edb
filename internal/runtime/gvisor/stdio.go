package gvisor

import "os"

// giveUpStdio replaces the package variables os.Stdin, os.Stdout and os.Stderr
// by closed pipes. runsc hands them to every sandbox as the first process's
// stdio and changes their owner to nobody on the way, which would be wrong for
// a log, a terminal or /dev/null. The agent lets go of them at once, but until
// then they must be harmless. The real descriptors 0 to 2 stay as they are.
func giveUpStdio(all bool) {
	for i, f := range []**os.File{&os.Stdin, &os.Stdout, &os.Stderr} {
		if !all && !isDevNull(*f) {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			continue // runsc would have failed for want of descriptors too
		}
		if i == 0 {
			w.Close()
			*f = r
		} else {
			r.Close()
			*f = w
		}
	}
}

func isDevNull(f *os.File) bool {
	st, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && nullErr == nil && os.SameFile(st, null)
}
