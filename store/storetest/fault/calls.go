package fault

import (
	"context"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Fault is a kind of fault that was injected.
type Fault int

// The kinds that are counted.
const (
	Refused        Fault = iota // calls that failed with nothing done
	UnknownApplied              // calls of unknown outcome that were applied
	UnknownIgnored              // that were not
	UnknownLate                 // publishes of unknown outcome, applied later
	Behind                      // reads
	Delayed                     // calls
	Dropped                     // messages, and calls that tell of presence
	Duplicated                  // messages
	Reordered                   // messages
	Late                        // messages, and calls that tell of presence
	Resynced                    // calls of Resync
	faults
)

func (s *Store) count(f Fault) { s.counts[f].Add(1) }

// Count is how often a kind of fault was injected: a simulation that met none
// proves nothing.
func (s *Store) Count(f Fault) int { return int(s.counts[f].Load()) }

// fate is what happens to one call.
type fate struct {
	refuse, unknown, behind bool
	delayBefore, delayAfter time.Duration
	// pick chooses among variants, 0 to 1, and split where a batch breaks.
	pick, split float64
}

// draw always takes the same number of values, so that a change of rates does not
// shift what comes after.
func (s *Store) draw(op Op) fate {
	src := &s.sources[op]
	src.mu.Lock()
	kind, delay, length, pick, split := src.r.Float64(), src.r.Float64(), src.r.Float64(), src.r.Float64(), src.r.Float64()
	src.mu.Unlock()
	r := s.rates.Load().of(op)
	f := fate{pick: pick, split: split}
	switch {
	case kind < r.Refuse:
		f.refuse = true
	case kind < r.Refuse+r.Unknown:
		f.unknown = true
	case kind < r.Refuse+r.Unknown+r.Behind:
		f.behind = true
	}
	if delay < r.Delay {
		d := max(1, time.Duration(length*float64(r.MaxDelay)))
		if delay < r.Delay/2 {
			f.delayBefore = d
		} else {
			f.delayAfter = d
		}
	}
	return f
}

// enter draws the fate of a call that has no unknown outcome and goes through
// before.
func (s *Store) enter(ctx context.Context, op Op) (fate, error) {
	f := s.draw(op)
	if err := s.before(ctx, op, f); err != nil {
		return f, err
	}
	if f.refuse {
		s.count(Refused)
		return f, unavailable(errInjected)
	}
	return f, nil
}

// leave delays the answer.
func (s *Store) leave(ctx context.Context, f fate) error {
	if f.delayAfter == 0 {
		return nil
	}
	s.count(Delayed)
	return sleep(ctx, f.delayAfter)
}

// Publish implements hub.Store.
func (s *Store) Publish(ctx context.Context, batch []hub.Publish) []hub.Result {
	f := s.draw(Publish)
	results := make([]hub.Result, len(batch))
	if err := s.before(ctx, Publish, f); err != nil {
		fail(results, err)
		return results
	}
	// A fault begins at the element whole; what is before it goes well.
	whole := len(batch)
	if f.refuse || f.unknown {
		// Half of the time all of the batch.
		whole = int(max(0, 2*f.split-1) * float64(len(batch)))
	}
	in := s.inner.Load()
	apply := func(ctx context.Context, from, to int) {
		if from < to {
			copy(results[from:to], in.Publish(ctx, batch[from:to]))
		}
	}
	switch {
	case f.refuse:
		s.count(Refused)
		apply(ctx, 0, whole)
		fail(results[whole:], unavailable(errInjected))
	case f.unknown && f.pick < 0.4:
		s.count(UnknownApplied)
		apply(ctx, 0, len(batch))
		unknown(results[whole:])
	case f.unknown && f.pick < 0.8:
		s.count(UnknownIgnored)
		apply(ctx, 0, whole)
		fail(results[whole:], hub.ErrOutcomeUnknown)
	case f.unknown:
		s.count(UnknownLate)
		apply(ctx, 0, whole)
		fail(results[whole:], hub.ErrOutcomeUnknown)
		late := append([]hub.Publish(nil), batch[whole:]...)
		d := max(s.rates.Load().Publish.MaxDelay, time.Millisecond)
		s.later(time.Duration(f.split*float64(d)), func() {
			s.inner.Load().Publish(context.Background(), late)
		})
	default:
		apply(ctx, 0, len(batch))
	}
	if s.leave(ctx, f) != nil {
		unknown(results)
	}
	return results
}

func fail(results []hub.Result, err error) {
	for i := range results {
		results[i] = hub.Result{Err: err}
	}
}

// unknown makes the outcomes unknown, also of what was refused: the answer that
// says so was lost.
func unknown(results []hub.Result) { fail(results, hub.ErrOutcomeUnknown) }

// Read implements hub.Store.
func (s *Store) Read(ctx context.Context, q hub.ReadRequest) (hub.Page, error) {
	f, err := s.enter(ctx, Read)
	if err != nil {
		return hub.Page{}, err
	}
	if f.behind {
		s.count(Behind)
		return hub.Page{}, hub.ErrBehind
	}
	page, err := s.inner.Load().Read(ctx, q)
	if late := s.leave(ctx, f); late != nil {
		return hub.Page{}, late
	}
	return page, err
}

// Heads implements hub.Store.
func (s *Store) Heads(ctx context.Context, rooms []string) ([]hub.Position, error) {
	f, err := s.enter(ctx, Heads)
	if err != nil {
		return nil, err
	}
	heads, err := s.inner.Load().Heads(ctx, rooms)
	if late := s.leave(ctx, f); late != nil {
		return nil, late
	}
	return heads, err
}

// Renew implements hub.Store.
func (s *Store) Renew(ctx context.Context, leases []hub.Lease) error {
	return s.lease(ctx, Renew, func(in hub.Store) error { return in.Renew(ctx, leases) })
}

// Release implements hub.Store.
func (s *Store) Release(ctx context.Context, leases []hub.Lease) error {
	return s.lease(ctx, Release, func(in hub.Store) error { return in.Release(ctx, leases) })
}

func (s *Store) lease(ctx context.Context, op Op, call func(hub.Store) error) error {
	f, err := s.enter(ctx, op)
	if err != nil {
		return err
	}
	if f.unknown && f.pick < 0.5 {
		s.count(UnknownIgnored)
		return unavailable(errInjected)
	}
	err = call(s.inner.Load())
	if f.unknown {
		s.count(UnknownApplied)
		return unavailable(errInjected)
	}
	if late := s.leave(ctx, f); late != nil {
		return late
	}
	return err
}

// Present implements hub.Store.
func (s *Store) Present(ctx context.Context, room string, limit int) (hub.Presence, error) {
	f, err := s.enter(ctx, Present)
	if err != nil {
		return hub.Presence{}, err
	}
	p, err := s.inner.Load().Present(ctx, room, limit)
	if late := s.leave(ctx, f); late != nil {
		return hub.Presence{}, late
	}
	return p, err
}

// Ping implements hub.Store.
func (s *Store) Ping(ctx context.Context) error {
	f, err := s.enter(ctx, Ping)
	if err != nil {
		return err
	}
	err = s.inner.Load().Ping(ctx)
	if late := s.leave(ctx, f); late != nil {
		return late
	}
	return err
}
