package seed

import "time"

// SetClock makes s take its time from clock.
func (s *Sums) SetClock(clock func() time.Time) { s.clock = clock }
