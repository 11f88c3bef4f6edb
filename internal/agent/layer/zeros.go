package layer

import (
	"bytes"
	"io"
)

// Zeros takes runs of zero bytes out of a stream.
type Zeros struct {
	W io.Writer
	// Skip is called in the place of a write of n zero bytes.
	Skip func(n int64) error
}

// zeroUnit is the shortest run that is taken out.
const zeroUnit = 4096

var noBytes = make([]byte, zeroUnit)

// Write implements io.Writer.
func (z *Zeros) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, zero := run(p[done:])
		var err error
		if zero {
			err = z.Skip(int64(n))
		} else {
			_, err = z.W.Write(p[done : done+n])
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// run returns how many bytes at the beginning of p are alike: whole units of
// zeros, or what is to be written.
func run(p []byte) (n int, zero bool) {
	for n < len(p) {
		unit := p[n:min(n+zeroUnit, len(p))]
		is := len(unit) == zeroUnit && bytes.Equal(unit, noBytes)
		if n > 0 && is != zero {
			return n, zero
		}
		n, zero = n+len(unit), is
	}
	return n, zero
}
