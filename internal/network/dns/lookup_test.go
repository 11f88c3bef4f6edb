package dns

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// slow answers after a time, and counts.
type slow struct {
	Resolver
	takes              time.Duration
	asked, now, atOnce atomic.Int64
}

func (s *slow) Lookup(ctx context.Context, q Question) (Answer, error) {
	s.asked.Add(1)
	if n := s.now.Add(1); n > s.atOnce.Load() {
		s.atOnce.Store(n)
	}
	defer s.now.Add(-1)
	select {
	case <-time.After(s.takes):
		return s.Resolver.Lookup(ctx, q)
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &slow{Resolver: names}
		b := newBench(t, allowExample, r)
		ttl := func() uint32 {
			m := unpack(t, b.Answer(t.Context(), question(t, dnsmessage.TypeA, "example.com.", 0), false))
			return m.Answers[0].Header.TTL
		}
		for _, tc := range []struct {
			wait  time.Duration
			ttl   uint32
			asked int64
		}{
			{0, 60, 1},
			{time.Second, 59, 1},
			{57 * time.Second, minTTL, 1}, // 2 seconds are left, and given a little more
			{2 * time.Second, 60, 2},
		} {
			time.Sleep(tc.wait)
			if got := ttl(); got != tc.ttl || r.asked.Load() != tc.asked {
				t.Errorf("time to live %d, %d look-ups; want %+v", got, r.asked.Load(), tc)
			}
		}
		// That there is nothing is forgotten soon, that nobody could say at once.
		for name, want := range map[string]int64{"none.example.com.": 1, "fails.example.com.": 2} {
			r.asked.Store(0)
			b.ask(t, dnsmessage.TypeA, name)
			b.ask(t, dnsmessage.TypeA, name)
			if got := r.asked.Load(); got != want {
				t.Errorf("%s: %d look-ups, want %d", name, got, want)
			}
			time.Sleep(negativeTTL)
			b.ask(t, dnsmessage.TypeA, name)
			if got := r.asked.Load(); got != want+1 {
				t.Errorf("%s later: %d look-ups, want %d", name, got, want+1)
			}
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Now()
	for i := range 3 * cacheSize {
		c.put(Question{fmt.Sprintf("n%d.example.com", i), dnsmessage.TypeA}, Answer{}, now)
		if len(c.answers) > cacheSize {
			t.Fatalf("%d answers", len(c.answers))
		}
	}
	if _, ok := c.get(Question{fmt.Sprintf("n%d.example.com", 3*cacheSize-1), dnsmessage.TypeA}, now); !ok {
		t.Error("the newest answer is gone")
	}
}

// The same question of many at once is one look-up, which goes on when the one that
// asked first goes away.
func TestSharedLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &slow{Resolver: names, takes: time.Second}
		b := newBench(t, allowExample, r)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Answer(ctx, question(t, dnsmessage.TypeA, "example.com.", 0), false)
		synctest.Wait()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got := b.ask(t, dnsmessage.TypeA, "example.com."); !strings.HasPrefix(got, "Success 93.") {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if n := r.asked.Load(); n != 1 {
			t.Errorf("%d look-ups", n)
		}
	})
}

// A guest that asks for more than is looked up at once waits, and beyond that is
// told that it failed; what is in the cache is still answered.
func TestManyLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &slow{Resolver: zone{}, takes: time.Second}
		b := newBench(t, allowExample, r)
		b.Lookups = 4
		var all sync.WaitGroup
		var answered, failed atomic.Int64
		const queries = 600
		for i := range queries {
			all.Go(func() {
				switch got := b.ask(t, dnsmessage.TypeA, fmt.Sprintf("n%d.example.com.", i)); got {
				case "NameError":
					answered.Add(1)
				case "ServerFailure":
					failed.Add(1)
				default:
					t.Error(got)
				}
			})
		}
		all.Wait()
		if r.atOnce.Load() != 4 || answered.Load() == 0 || answered.Load() > 4*int64(lookupTime/time.Second) || answered.Load()+failed.Load() != queries {
			t.Errorf("%d at once, %d answered, %d failed", r.atOnce.Load(), answered.Load(), failed.Load())
		}
		if got := b.ask(t, dnsmessage.TypeA, "later.example.com."); got != "NameError" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// A host that never answers does not keep the guest for ever.
func TestLookupEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, allowExample, &slow{takes: 24 * time.Hour})
		start := time.Now()
		if got := b.ask(t, dnsmessage.TypeA, "example.com."); got != "ServerFailure" || time.Since(start) != lookupTime {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		m := unpack(t, b.Answer(ctx, question(t, dnsmessage.TypeA, "example.com.", 0), false))
		if m.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("with its end in sight: %v", m.RCode)
		}
		time.Sleep(lookupTime) // for the look-up that nobody waits for
	})
}

func TestOwnName(t *testing.T) {
	b := newBench(t, `{"version": 1}`, names)
	b.Hostname, b.Addresses = "Sandbox.", loopback
	for question, want := range map[string]string{
		"A sandbox.":                                      "Success 127.0.0.1",
		"AAAA SANDBOX.":                                   "Success ::1",
		"TXT sandbox.":                                    "Success",
		"A sandbox.example.":                              "NameError",
		"TXT localhost.":                                  "Success",
		"PTR 1.0.0.127.in-addr.arpa.":                     "Success localhost.",
		"A 1.0.0.127.in-addr.arpa.":                       "Success",
		"PTR 01.0.0.127.in-addr.arpa.":                    "NameError",
		"PTR 0.0.127.in-addr.arpa.":                       "NameError",
		"PTR secret-text.in-addr.arpa.":                   "NameError",
		"PTR x.ip6.arpa.":                                 "NameError",
		"SVCB _dns.resolver.arpa.":                        "NameError",
		"A ipv4only.arpa.":                                "NameError",
		"PTR 1" + strings.Repeat(".0", 31) + ".ip6.arpa.": "Success localhost.",
	} {
		typ, name, _ := strings.Cut(question, " ")
		for t16, text := range typeNames {
			if text == typ {
				if got := b.ask(t, t16, name); got != want {
					t.Errorf("%s: %q, want %q", question, got, want)
				}
			}
		}
	}
	for _, e := range b.refused {
		if e.Name != "sandbox.example" {
			t.Errorf("refused %+v", e)
		}
	}
}

func TestOnlyIPv4(t *testing.T) {
	b := newBench(t, allowExample, names)
	b.OnlyIPv4 = true
	if got := b.ask(t, dnsmessage.TypeAAAA, "example.com."); got != "Success" {
		t.Error(got)
	}
	if got := b.ask(t, dnsmessage.TypeAAAA, "other.example.org."); got != "NameError" {
		t.Error(got)
	}
}
