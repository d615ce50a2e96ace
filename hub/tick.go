package hub

import (
	"sync"
	"time"
)

// maxHeartbeat is the longest interval between heartbeats: one turn of the
// wheel.
const maxHeartbeat = time.Minute

// wheel finds the connections whose heartbeat is due, without a timer each. A
// slot is a second; nothing is due later than one turn.
type wheel struct {
	mu sync.Mutex // after a Subscriber's mu
	// guarded by mu
	slots [64]places
	now   int64
}

// wheelPlace is where a subscriber is in the wheel, guarded by wheel.mu.
type wheelPlace struct {
	in    bool
	slot  int32
	index int32
}

func (w *wheel) add(s *Subscriber, in time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addLocked(s, w.now+int64(in/time.Second))
}

func (w *wheel) addLocked(s *Subscriber, at int64) {
	slot := int(max(at, w.now+1) % int64(len(w.slots)))
	s.wheel = wheelPlace{in: true, slot: int32(slot), index: w.slots[slot].add(s)}
}

func (w *wheel) remove(s *Subscriber) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := s.wheel
	if !p.in {
		return
	}
	w.slots[p.slot].remove(p.index)
	s.wheel.in = false
}

// holds reports whether s waits in the wheel.
func (w *wheel) holds(s *Subscriber) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.wheel.in
}

// turn moves on to the given second and returns who was waiting for it.
func (w *wheel) turn(now int64, due []*Subscriber) []*Subscriber {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.now < now {
		w.now++
		slot := &w.slots[w.now%int64(len(w.slots))]
		for _, s := range slot.at {
			if s != nil {
				s.wheel.in = false
				due = append(due, s)
			}
		}
		slot.clear()
	}
	return due
}

// tick is the hub's clock: once a second it sends the heartbeats that are due
// and looks again at what a failing store has left undone.
func (h *Hub) tick() {
	const second = time.Second
	t := time.NewTicker(second)
	defer t.Stop()
	begin := time.Now()
	lastCheck := begin
	checking := make(chan struct{}, 1)
	var due []*Subscriber
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		elapsed := int64(now.Sub(begin) / second)
		h.coarse.Store(elapsed)
		due = h.wheel.turn(elapsed, due[:0])
		h.beat(due, elapsed, now)
		clear(due)
		h.lookAgain(now)
		h.refill(now)
		h.closeIdle(now)
		if now.Sub(lastCheck) >= h.o.CheckInterval {
			lastCheck = now
			// Not here: the store may take its time.
			select {
			case checking <- struct{}{}:
				h.wg.Go(func() {
					h.checkHeads()
					<-checking
				})
			default:
			}
		}
	}
}

// beat sends heartbeats to those that were silent, and puts everybody back
// into the wheel.
func (h *Hub) beat(due []*Subscriber, now int64, clock time.Time) {
	for _, s := range due {
		s.mu.Lock()
		if s.end != nil || s.finished {
			s.mu.Unlock()
			continue
		}
		if s.conn == nil {
			if h.wheel.holds(s) {
				s.mu.Unlock() // the next poll in the same seat
				continue
			}
			s.timeUpLocked(PollResult{})
			continue
		}
		next := s.wrote + int64(s.heartbeat/time.Second)
		if next <= now {
			s.beat = true
			s.kickLocked(nil)
			next = now + int64(s.heartbeat/time.Second)
		}
		if !s.finished {
			h.wheel.mu.Lock()
			h.wheel.addLocked(s, next)
			h.wheel.mu.Unlock()
		}
		turn := s.turn
		s.mu.Unlock()
		if turn != nil {
			turn(clock)
		}
	}
}

// retry has a subscriber looked at by the next tick.
func (h *Hub) retry(s *Subscriber) {
	h.mu.Lock()
	h.retries = append(h.retries, s)
	h.mu.Unlock()
}

func (h *Hub) lookAgain(now time.Time) {
	h.mu.Lock()
	again := h.retries
	h.retries = nil
	h.mu.Unlock()
	for _, s := range again {
		s.mu.Lock()
		s.retrying = false
		left := false
		for _, m := range s.members {
			left = left || (m.pending && !m.attached && now.Before(m.retryAt))
		}
		if left && s.end == nil {
			s.retrying = true
			h.retry(s)
		}
		s.kickLocked(nil)
		s.mu.Unlock()
	}
}
