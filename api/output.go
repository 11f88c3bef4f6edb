package api

// Output is an io.Writer that collects a command's output for an answer. It
// takes everything and keeps the first and the last part, so that its memory
// stays below three times Limit. It is not safe for concurrent use.
type Output struct {
	// Limit is how many bytes Text returns at most, without its mark. The zero
	// value stands for MaxOutput.
	Limit int
	// Total counts the bytes written.
	Total int64

	kept []byte
}

func (o *Output) limit() int {
	if o.Limit > 0 {
		return o.Limit
	}
	return MaxOutput
}

// Write never fails.
func (o *Output) Write(p []byte) (int, error) {
	n, limit := len(p), o.limit()
	o.Total += int64(n)
	if len(p) > limit && len(o.kept) >= limit/2 {
		p = p[len(p)-limit:]
	}
	o.kept = append(o.kept, p...)
	if len(o.kept) > 2*limit { // seldom, so that copying stays cheap
		half := limit / 2
		copy(o.kept[half:], o.kept[len(o.kept)-half:])
		o.kept = o.kept[:2*half]
	}
	return n, nil
}

// Text returns what Bound makes of the output.
func (o *Output) Text() (text string, truncated bool) { return Bound(o.kept, o.Total, o.limit()) }
