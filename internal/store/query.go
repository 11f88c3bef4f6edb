package store

import (
	"context"
	"fmt"
	"time"
)

// query returns the rows of a SELECT; pointers says where the columns of one go.
func query[Row any](ctx context.Context, s *Store, pointers func(*Row) []any, statement string, args ...any) ([]Row, error) {
	rows, err := s.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, s.fail(err)
	}
	defer rows.Close()
	var all []Row
	for rows.Next() {
		var row Row
		if err := rows.Scan(pointers(&row)...); err != nil {
			return nil, s.fail(err)
		}
		all = append(all, row)
	}
	return all, s.fail(rows.Err())
}

// millis is how a time stands in a column: Unix milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timestamp reads what millis made, as a time in UTC.
type timestamp time.Time

// Scan implements sql.Scanner.
func (t *timestamp) Scan(column any) error {
	ms, ok := column.(int64)
	switch {
	case !ok:
		return fmt.Errorf("a time is stored as %T", column)
	case ms == 0:
		*t = timestamp{}
	default:
		*t = timestamp(time.UnixMilli(ms).UTC())
	}
	return nil
}
