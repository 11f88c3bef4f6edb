package refusals

import (
	"cmp"
	"slices"
	"time"
)

// ledger adds events up. The zero value is empty. It holds up to twice maxEvents
// before it drops some.
type ledger struct {
	events map[key]*Event
	others Event // those that were dropped; Count is 0 for none
}

// add returns the event as it stands now.
func (l *ledger) add(e Event) *Event {
	if e.Protocol == Others {
		l.drop(e)
		return &l.others
	}
	if l.events == nil {
		l.events = map[key]*Event{}
	}
	known, ok := l.events[e.key()]
	if ok {
		known.join(e)
		return known
	}
	if len(l.events) >= 2*maxEvents {
		l.shrink()
	}
	l.events[e.key()] = &e
	return &e
}

// join adds another event of the same key.
func (e *Event) join(other Event) {
	if other.First.Before(e.First) {
		e.First = other.First
	}
	if !other.Last.Before(e.Last) {
		e.Last, e.Reason = other.Last, other.Reason
	}
	e.Count += min(other.Count, most-e.Count)
}

// shrink keeps the half of maxEvents that came first, and the half that was seen
// last: a guest that tries a lot of things can hide neither what it did before nor
// what it does now.
func (l *ledger) shrink() {
	if len(l.events) <= maxEvents {
		return
	}
	all := l.sorted()
	rest := all[maxEvents/2:]
	slices.SortStableFunc(rest, func(a, b *Event) int { return a.Last.Compare(b.Last) })
	for _, e := range rest[:len(rest)-maxEvents/2] {
		l.drop(*e)
		delete(l.events, e.key())
	}
}

func (l *ledger) drop(e Event) {
	e = Event{Protocol: Others, Reason: "more kinds of refusals than are kept", First: e.First, Last: e.Last, Count: e.Count}
	if l.others.Count == 0 {
		l.others = e
		return
	}
	l.others.join(e)
}

// sorted lists the events in the order in which they came.
func (l *ledger) sorted() []*Event {
	all := make([]*Event, 0, len(l.events))
	for _, e := range l.events {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Event) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Name, b.Name), a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol+a.Record+a.Rule, b.Protocol+b.Record+b.Rule))
	})
	return all
}

// list returns at most maxEvents events and the one for the others.
func (l *ledger) list() []Event {
	l.shrink()
	var events []Event
	for _, e := range l.sorted() {
		events = append(events, *e)
	}
	if l.others.Count > 0 {
		events = append(events, l.others)
	}
	return events
}

// fill gives an event the time and count that it has without saying.
func (e *Event) fill(now time.Time) {
	e.clean()
	if e.Last.IsZero() {
		e.Last = now
	}
	if e.First.IsZero() || e.First.After(e.Last) {
		e.First = e.Last
	}
	e.First, e.Last = e.First.UTC().Round(0), e.Last.UTC().Round(0)
	e.Count = min(max(e.Count, 1), most)
}
