// Package fault wraps a hub.Store in one that fails on purpose: for simulations
// of the hub and tests of what is built on it. It stays inside the laws of
// hub.Store (a refused publish was not applied, a dropped delivery is followed
// by a Resync), unless told otherwise.
//
// Faults are drawn from a seed, by a generator for each operation and one for
// each watch, so that the n-th call of an operation meets the same fate in every
// run. Beside the random faults there are switches: Fail, Pause, Cut and Swap.
//
// # Locks
//
//	Store.swapMu -> the inner store's locks -> watch.mu, source.mu, Store.timerMu
//
// No lock of this package is held while a Watcher is called.
package fault

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Options of Wrap.
type Options struct {
	// Seed decides which calls fail.
	Seed uint64
	// Rates to begin with; SetRates changes them.
	Rates Rates
}

// Store is a hub.Store that fails on purpose.
type Store struct {
	seed    uint64 // set once
	sources [ops]source
	rates   atomic.Pointer[Rates]
	inner   atomic.Pointer[inner]
	failing [ops]atomic.Pointer[failure]
	gate    atomic.Pointer[chan struct{}] // not nil: paused until it is closed
	cut     atomic.Bool
	counts  [faults]atomic.Int64

	swapMu sync.Mutex // held by Watch and Swap

	watches sync.Map // *watch: struct{}

	timerMu sync.Mutex
	// Guarded by timerMu.
	closed bool
	timers map[*time.Timer]struct{}

	running sync.WaitGroup // of timers' functions
}

// inner is the store that does the work, numbered by Swap.
type inner struct {
	hub.Store
	generation int
}

type failure struct {
	err  error
	left atomic.Int64 // calls that still fail; negative: all
}

var _ hub.Store = (*Store)(nil)

// Wrap returns a store that does what inner does, with faults. Closing it
// closes inner. It panics where the rates are not valid.
func Wrap(s hub.Store, o Options) *Store {
	f := &Store{seed: o.Seed, timers: map[*time.Timer]struct{}{}}
	f.inner.Store(&inner{Store: s})
	for i := range f.sources {
		f.sources[i].r = newRand(o.Seed, uint64(i))
	}
	f.SetRates(o.Rates)
	return f
}

// SetRates changes the rates. It panics where they are not valid.
func (s *Store) SetRates(r Rates) {
	if err := r.Validate(); err != nil {
		panic(err)
	}
	s.rates.Store(&r)
}

// Fail makes the next n calls of the operation fail with err, nothing done; all
// calls where n is negative, none any more where it is 0.
func (s *Store) Fail(op Op, n int, err error) {
	f := &failure{err: err}
	f.left.Store(int64(n))
	s.failing[op].Store(f)
}

// Pause makes every call wait, and holds deliveries back, until Resume: a store
// that is there but does not answer. A context that ends meanwhile ends a call
// with hub.ErrUnavailable.
func (s *Store) Pause() {
	gate := make(chan struct{})
	s.gate.CompareAndSwap(nil, &gate)
}

// Resume ends Pause. What was held back is delivered.
func (s *Store) Resume() {
	if gate := s.gate.Swap(nil); gate != nil {
		close(*gate)
	}
	for w := range s.watches.Range {
		w.(*watch).flush()
	}
}

// Cut breaks the connection to the store: every call fails with
// hub.ErrUnavailable, and what is to be delivered is lost, until Mend.
func (s *Store) Cut() { s.cut.Store(true) }

// Mend ends Cut and tells every watcher to resync.
func (s *Store) Mend() {
	if s.cut.Swap(false) {
		s.Resync()
	}
}

// Resync tells every watcher that something may have been missed.
func (s *Store) Resync() {
	for w := range s.watches.Range {
		w.(*watch).resync("")
	}
}

// Swap puts another store in the place of the inner one, moves all watches to
// it and tells them to resync: a failover, to a copy that may lack the newest
// messages, or to one that lost everything. The old one is the caller's to
// close. Calls under way end in the old one.
func (s *Store) Swap(ctx context.Context, to hub.Store) (old hub.Store, err error) {
	s.swapMu.Lock()
	from := s.inner.Load()
	next := &inner{Store: to, generation: from.generation + 1}
	s.inner.Store(next)
	for w := range s.watches.Range {
		if e := w.(*watch).start(ctx, next); e != nil {
			err = errors.Join(err, e)
		}
	}
	s.swapMu.Unlock()
	s.Resync()
	return from.Store, err
}

// before is what every call goes through: it returns the error that the call
// fails with, nothing done, or nil.
func (s *Store) before(ctx context.Context, op Op, f fate) error {
	if f.delayBefore > 0 {
		s.count(Delayed)
		if err := sleep(ctx, f.delayBefore); err != nil {
			return err
		}
	}
	for gate := s.gate.Load(); gate != nil; gate = s.gate.Load() {
		select {
		case <-*gate:
		case <-ctx.Done():
			return unavailable(ctx.Err())
		}
	}
	if s.isClosed() {
		return hub.ErrClosed
	}
	if s.cut.Load() {
		s.count(Refused)
		return unavailable(errors.New("the connection is cut"))
	}
	if f := s.failing[op].Load(); f != nil && f.take() {
		s.count(Refused)
		return f.err
	}
	return nil
}

func (f *failure) take() bool {
	for {
		n := f.left.Load()
		if n == 0 {
			return false
		}
		if n < 0 || f.left.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func unavailable(why error) error { return fmt.Errorf("%w: %w", hub.ErrUnavailable, why) }

// errInjected is the cause in errors of random faults.
var errInjected = errors.New("injected fault")

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// later calls f after d, unless the store is closed first.
func (s *Store) later(d time.Duration, f func()) {
	s.timerMu.Lock()
	defer s.timerMu.Unlock()
	if s.closed {
		return
	}
	s.running.Add(1)
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		defer s.running.Done()
		s.timerMu.Lock()
		delete(s.timers, t)
		closed := s.closed
		s.timerMu.Unlock()
		if !closed {
			f()
		}
	})
	s.timers[t] = struct{}{}
}

func (s *Store) isClosed() bool {
	s.timerMu.Lock()
	defer s.timerMu.Unlock()
	return s.closed
}

// Close implements hub.Store. Deliveries and publishes that were to come later
// do not come any more.
func (s *Store) Close() error {
	s.timerMu.Lock()
	again := s.closed
	s.closed = true
	for t := range s.timers {
		if t.Stop() {
			s.running.Done()
		}
	}
	clear(s.timers)
	s.timerMu.Unlock()
	if again {
		return nil
	}
	if gate := s.gate.Swap(nil); gate != nil {
		close(*gate)
	}
	s.running.Wait()
	return s.inner.Load().Close()
}

// source draws fates, in an order that the seed decides.
type source struct {
	mu sync.Mutex
	r  *rand.Rand // guarded by mu
}

func newRand(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a, b)) }

func seedOf(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}
