package memory

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/culvertd/culvert/hub"
)

// watch is one Watcher of one room.
type watch struct {
	room    string      // set once
	w       hub.Watcher // set once
	stopped atomic.Bool
}

func (w *watch) messages(msgs []*hub.Message) {
	if !w.stopped.Load() {
		w.w.Messages(w.room, msgs)
	}
}

func (w *watch) presence(events []hub.PresenceEvent) {
	if !w.stopped.Load() {
		w.w.Presence(w.room, events)
	}
}

// Watch implements hub.Store. Nothing is ever missed here, so Resync is never
// called. The room is kept while it is watched.
func (s *Store) Watch(ctx context.Context, room string, w hub.Watcher) (stop func(), err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	watch := &watch{room: room, w: w}
	sh := s.shardOf(room)
	added, err := sh.watch(watch)
	if err == nil && !added && s.freeRooms() {
		added, err = sh.watch(watch)
	}
	switch {
	case err != nil:
		return nil, err
	case !added:
		s.warn(warnRooms, "memory store: no place for another room", int64(s.o.MaxRooms))
		return nil, ErrTooManyRooms
	}
	return func() { sh.stop(watch) }, nil
}

func (sh *shard) watch(w *watch) (added bool, err error) {
	if !sh.lock() {
		return false, hub.ErrClosed
	}
	defer sh.mu.Unlock()
	now := sh.now()
	r := sh.open(w.room, now)
	if r == nil {
		return false, nil
	}
	w.room = r.name
	r.watchers = append(r.watchers, w)
	r.touched = max(r.touched, now.at)
	return true, nil
}

// stop silences the watch at once. It takes it out of its room only if that
// needs no waiting: the caller may hold a lock that a watcher of this shard is
// waiting for. Otherwise the next one to lock the shard does it.
func (sh *shard) stop(w *watch) {
	if w.stopped.Swap(true) {
		return
	}
	sh.stopMu.Lock()
	sh.stopped = append(sh.stopped, w)
	sh.hasStopped.Store(true)
	sh.stopMu.Unlock()
	if sh.mu.TryLock() {
		if !sh.closed {
			sh.dropStopped()
		}
		sh.mu.Unlock()
	}
}

// dropStopped takes stopped watches out; mu is held.
func (sh *shard) dropStopped() {
	sh.stopMu.Lock()
	stopped := sh.stopped
	sh.stopped = nil
	sh.hasStopped.Store(false)
	sh.stopMu.Unlock()
	now := sh.now()
	for _, w := range stopped {
		r := sh.rooms[w.room]
		if r == nil {
			continue
		}
		if i := slices.Index(r.watchers, w); i >= 0 {
			r.watchers = slices.Delete(r.watchers, i, i+1)
			if len(r.watchers) == 0 {
				r.watchers = nil
			}
			r.touched = max(r.touched, now.at)
			sh.settle(r, now)
		}
	}
}
