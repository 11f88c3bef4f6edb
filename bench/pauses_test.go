package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pyro/api"
)

// watched is how long it is looked for pauses.
const watched = 4 * time.Second

// tickScript looks at the clock every millisecond for some time and prints
// the longest time in between, in seconds. It works with what Debian marks as
// essential.
func tickScript(d time.Duration) string {
	return fmt.Sprintf(`exec perl -MTime::HiRes=clock_gettime,CLOCK_MONOTONIC,usleep -e '
		$end = ($last = clock_gettime(CLOCK_MONOTONIC)) + %f;
		while ($last < $end) {
			usleep(1000);
			$now = clock_gettime(CLOCK_MONOTONIC);
			$max = $now - $last if $now - $last > $max;
			$last = $now;
		}
		print "$max\n"'`, d.Seconds())
}

// ticks reads what tickScript printed.
func ticks(text string, err error) (figures, error) {
	if err != nil {
		return nil, err
	}
	longest, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return figures{"": longest}, err
}

// pauseContest: how long a sandbox stands still to be saved.
func pauseContest(ctx context.Context) (*contest, error) {
	c := &contest{rounds: 5}
	v, err := newRivals(ctx, c)
	if err != nil {
		return nil, err
	}
	const (
		small, large = "10 changed files", "100 MB that are new"
		floor        = "`runsc`, nothing is saved"
	)
	// written leaves a disk of one of the two sizes.
	written := map[string]string{
		small: `rm -f large; ` + editScript("again"),
		large: `dd if=/dev/urandom of=large bs=1000000 count=100 2>/dev/null`,
	}
	for _, size := range []string{small, large} {
		ours, other := "autosave, "+size, "`runsc fscheckpoint --leave-running`, all that and the project"
		c.contenders = append(c.contenders,
			contender{name: ours, label: "autosave", ours: true, once: func(ctx context.Context) (figures, error) {
				if _, err := v.ours.exec(ctx, written[size]); err != nil {
					return nil, err
				}
				return v.ours.pause(ctx)
			}},
			contender{name: other + size, label: other, once: func(ctx context.Context) (figures, error) {
				if _, err := v.other.exec(ctx, written[size]); err != nil {
					return nil, err
				}
				return v.other.pause(ctx)
			}})
		c.rows = append(c.rows, row{what: "how long the sandbox stands still to be saved, " + size, pyro: ours, other: other + size, unit: duration})
	}
	c.contenders = append(c.contenders, contender{name: floor, once: func(ctx context.Context) (figures, error) {
		return ticks(v.other.exec(ctx, tickScript(watched)))
	}})
	c.rows = append(c.rows, row{what: "the same where nothing is saved", pyro: "autosave, " + small, other: floor, unit: duration})
	return c, nil
}

// pause measures how long a container stands still for a checkpoint.
func (c *container) pause(ctx context.Context) (longest figures, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		longest, err = ticks(c.exec(ctx, tickScript(watched)))
		return err
	})
	g.Go(func() error {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		dir, err := c.checkpoint(ctx)
		return errors.Join(err, os.RemoveAll(dir))
	})
	return longest, g.Wait()
}

// pause is how long the workspace stands still at most in some seconds in which
// it is saved.
func (w *workspace) pause(ctx context.Context) (figures, error) {
	for range 60 { // a save that took long holds the next one back
		start := time.Now()
		longest, err := ticks(w.exec(ctx, tickScript(watched)))
		if err != nil {
			return nil, err
		}
		var now api.Workspace
		if err := w.cli.answer(ctx, &now, w.args("status")...); err != nil {
			return nil, err
		}
		// What begins at the very end may end later.
		if now.SavedAt.After(start) && now.SavedAt.Before(start.Add(watched-time.Second/2)) {
			return longest, nil
		}
	}
	return nil, fmt.Errorf("%s is not saved although it works", w.id)
}
