package fault

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
)

// watch stands between the inner store and a Watcher.
type watch struct {
	s       *Store      // set once
	room    string      // set once
	w       hub.Watcher // set once
	stopped atomic.Bool

	mu sync.Mutex
	// Guarded by mu.
	generation int    // of the inner store that is listened to
	stop       func() // of that store
	r          *rand.Rand
	held       []*hub.Message
	paused     []func() // deliveries held back by Pause
}

// tap is a watch's ear in one inner store.
type tap struct {
	w          *watch
	generation int
}

// Watch implements hub.Store.
func (s *Store) Watch(ctx context.Context, room string, w hub.Watcher) (stop func(), err error) {
	f, err := s.enter(ctx, Watch)
	if err != nil {
		return nil, err
	}
	s.swapMu.Lock()
	watch := &watch{s: s, room: room, w: w, r: newRand(s.seed, seedOf(room))}
	err = watch.start(ctx, s.inner.Load())
	if err == nil {
		s.watches.Store(watch, struct{}{})
	}
	s.swapMu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := s.leave(ctx, f); err != nil {
		watch.end()
		return nil, err
	}
	return watch.end, nil
}

// start listens to a store, and no more to the one before. Where there was one,
// it is a break, and Resync comes before anything that is delivered after it.
func (w *watch) start(ctx context.Context, in *inner) error {
	w.mu.Lock()
	old := w.stop
	w.stop = nil
	w.generation = in.generation
	w.held, w.paused = nil, nil
	w.mu.Unlock()
	if old != nil {
		old()
		w.resync("")
	}
	stop, err := in.Watch(ctx, w.room, tap{w, in.generation})
	w.mu.Lock()
	w.stop = stop
	w.mu.Unlock()
	if stop != nil && w.stopped.Load() {
		stop()
	}
	return err
}

// end waits for no lock that is held while others are called: see hub.Store.
func (w *watch) end() {
	if w.stopped.Swap(true) {
		return
	}
	w.s.watches.Delete(w)
	w.mu.Lock()
	stop := w.stop
	w.held, w.paused = nil, nil
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// send delivers, unless the tap is not listened to any more: what is late does not
// survive a break.
func (t tap) send(msgs []*hub.Message) {
	if len(msgs) > 0 && t.current() {
		t.w.w.Messages(t.w.room, msgs)
	}
}

func (w *watch) resync(room string) {
	if !w.stopped.Load() {
		w.s.count(Resynced)
		w.w.Resync(room)
	}
}

// flush delivers what Pause held back.
func (w *watch) flush() {
	w.mu.Lock()
	paused := w.paused
	w.paused = nil
	w.mu.Unlock()
	for _, deliver := range paused {
		deliver()
	}
}

// pause keeps a delivery for Resume, where the store is paused or what came
// before is still being kept.
func (w *watch) pause(deliver func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.s.gate.Load() == nil {
		return false
	}
	w.paused = append(w.paused, deliver)
	return true
}

// current says that deliveries of the tap count.
func (t tap) current() bool {
	w := t.w
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stopped.Load() && w.generation == t.generation
}

// Messages implements hub.Watcher.
func (t tap) Messages(_ string, msgs []*hub.Message) {
	w, s := t.w, t.w.s
	if !t.current() {
		return
	}
	if s.cut.Load() {
		s.counts[Dropped].Add(int64(len(msgs)))
		return
	}
	deliver := func() {
		if t.current() {
			t.deliver(msgs)
		}
	}
	if !w.pause(deliver) {
		deliver()
	}
}

func (t tap) deliver(msgs []*hub.Message) {
	w, s := t.w, t.w.s
	rates := s.rates.Load().Deliveries
	now := make([]*hub.Message, 0, len(msgs)+1)
	var later []func()
	delays := []time.Duration{}
	w.mu.Lock()
	// What was held back goes out after the newer ones.
	after := w.held
	w.held = nil
	for _, m := range msgs {
		kind, wait := w.r.Float64(), w.wait(rates.MaxLate)
		again := func() { t.send([]*hub.Message{m}) }
		switch {
		case kind < rates.Drop:
			s.count(Dropped)
			if !rates.SilentDrops {
				later, delays = append(later, func() { w.resync(w.room) }), append(delays, wait)
			}
			continue
		case kind < rates.Drop+rates.Duplicate:
			s.count(Duplicated)
			later, delays = append(later, again), append(delays, wait)
		case kind < rates.Drop+rates.Duplicate+rates.Reorder:
			s.count(Reordered)
			w.held = append(w.held, m)
			continue
		case kind < rates.Drop+rates.Duplicate+rates.Reorder+rates.Late:
			s.count(Late)
			later, delays = append(later, again), append(delays, wait)
			continue
		}
		now = append(now, m)
	}
	if len(w.held) > 0 {
		later, delays = append(later, t.release), append(delays, rates.MaxLate)
	}
	resync, everywhere := w.r.Float64() < rates.Resync, w.r.Float64() < 0.5
	w.mu.Unlock()

	for i, f := range later {
		s.later(delays[i], f)
	}
	t.send(append(now, after...))
	switch {
	case resync && everywhere:
		w.resync("")
	case resync:
		w.resync(w.room)
	}
}

// release delivers what Reorder holds back.
func (t tap) release() {
	w := t.w
	w.mu.Lock()
	held := w.held
	w.held = nil
	w.mu.Unlock()
	t.send(held)
}

// wait is a random delay; mu is held.
func (w *watch) wait(longest time.Duration) time.Duration {
	return time.Duration(w.r.Float64() * float64(longest))
}

// Presence implements hub.Watcher.
func (t tap) Presence(_ string, events []hub.PresenceEvent) {
	w, s := t.w, t.w.s
	if !t.current() {
		return
	}
	if s.cut.Load() {
		s.count(Dropped)
		return
	}
	if !w.pause(func() { t.tell(events) }) {
		t.tell(events)
	}
}

func (t tap) tell(events []hub.PresenceEvent) {
	w, s := t.w, t.w.s
	rates := s.rates.Load().Deliveries
	w.mu.Lock()
	kind, wait := w.r.Float64(), w.wait(rates.MaxLate)
	w.mu.Unlock()
	tell := func() {
		if t.current() {
			w.w.Presence(w.room, events)
		}
	}
	switch {
	case kind < rates.PresenceDrop:
		s.count(Dropped)
		if !rates.SilentDrops {
			s.later(wait, func() { w.resync(w.room) })
		}
	case kind < rates.PresenceDrop+rates.PresenceLate:
		s.count(Late)
		s.later(wait, tell)
	default:
		tell()
	}
}

// Resync implements hub.Watcher.
func (t tap) Resync(room string) {
	if t.current() {
		t.w.resync(room)
	}
}
