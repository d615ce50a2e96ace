package hub

import (
	"context"
	"time"
)

// Waiter is a poll's connection while nobody holds a goroutine for it.
type Waiter interface {
	// Answer is called once: with what came, with nothing after the wait, or
	// with ErrClosed when the poll was given up. It must not block.
	Answer(res PollResult, err error)
}

// PollOrPark answers as Poll does where there is something at once or nothing
// to wait for. Else it calls park for a Waiter and the seat in which it waits,
// and returns the poll itself, which the caller may End when the client leaves;
// the Waiter is answered later, or has been. Where park fails, its error is
// returned.
func (h *Hub) PollOrPark(ctx context.Context, req PollRequest, park func() (Waiter, *Seat, error)) (PollResult, *Subscriber, error) {
	s := h.newPoll(&req)
	if err := h.admit(s); err != nil {
		return PollResult{}, nil, err
	}
	res, parked, err := s.pollOrPark(ctx, req, park)
	if parked != s {
		s.End(End{})
	}
	return res, parked, err
}

func (s *Subscriber) pollOrPark(ctx context.Context, req PollRequest, park func() (Waiter, *Seat, error)) (PollResult, *Subscriber, error) {
	if _, err := s.Subscribe(ctx, req.Subscriptions); err != nil {
		return PollResult{}, nil, err
	}
	sc := s.hub.takeScratch()
	defer s.hub.giveScratch(sc)
	res, need, err := s.collect(ctx, sc, &req)
	if err != nil || !res.empty() || req.Wait <= 0 {
		return res, nil, err
	}
	if need {
		// The log has yet to reach the reader's place: soon, or never.
		res, err := s.await(ctx, sc, &req)
		return res, nil, err
	}
	w, seat, err := park()
	if err != nil {
		return PollResult{}, nil, err
	}
	s.mu.Lock()
	req.Subscriptions = s.hereLocked()
	s.mu.Unlock()
	res, seated, ok := s.hub.PollAtOnce(seat, &req, w)
	switch {
	case ok && seated == nil: // something has come meanwhile
		w.Answer(res, nil)
		return PollResult{}, &seat.sub, nil
	case ok:
		return PollResult{}, seated, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parkLocked(w, &req)
	return PollResult{}, s, nil
}

// hereLocked are the rooms of a poll, to go on with where it stands.
func (s *Subscriber) hereLocked() []Subscription {
	subs := make([]Subscription, 0, len(s.members))
	for i, at := range s.pollCursorLocked() {
		subs = append(subs, Subscription{Room: at.Room, Start: Start{Kind: StartAfter, At: at}, Presence: s.members[i].presence})
	}
	return subs
}

// parkLocked has w answered when there is something, or the wait is over.
func (s *Subscriber) parkLocked(w Waiter, req *PollRequest) {
	s.waiter, s.request = w, req
	req.Subscriptions = nil // the members know
	select {
	case <-s.hub.draining:
		// Drain has passed by while there was nobody to answer.
		s.hub.wg.Go(func() { s.timeUp(PollResult{Draining: true, After: spreadOut(pollSpread)}) })
	default:
	}
	// The wheel's seconds are whole ones, and a part of this one is over: never
	// wait less than was asked.
	s.hub.wheel.add(s, req.Wait+2*time.Second-1)
	if s.pending > 0 {
		s.hub.wg.Go(s.answer) // something came meanwhile, if it is for this reader
	}
}

func (r *PollResult) empty() bool { return len(r.Frames) == 0 && len(r.Gaps) == 0 }

// takeWaiterLocked takes the waiter, so that it is answered once.
func (s *Subscriber) takeWaiterLocked() Waiter {
	w := s.waiter
	s.waiter = nil
	return w
}

// answer answers a parked poll if there is something for it. No lock of the
// hub is held.
func (s *Subscriber) answer() {
	sc := s.hub.takeScratch()
	defer s.hub.giveScratch(sc)
	s.mu.Lock()
	s.answerLocked(sc, true)
}

// answerLocked gives mu back. Reading from the store is left to a goroutine
// unless slow says that this is one. Only one collects at a time: what two had
// collected could be answered in the wrong order, or not at all.
func (s *Subscriber) answerLocked(sc *scratch, slow bool) {
	if s.waiter == nil || s.collecting {
		s.mu.Unlock()
		return
	}
	if !slow && s.needsStoreLocked() {
		s.mu.Unlock()
		s.hub.wg.Go(s.answer)
		return
	}
	s.collecting = true
	res, need, err := s.collectLocked(s.hub.ctx, sc, s.request)
	s.collecting = false
	switch {
	case s.waiter == nil:
		s.mu.Unlock()
	case err != nil || !res.empty():
		s.replyLocked(res, err)
	case s.overdue != nil:
		res.Draining, res.After = s.overdue.Draining, s.overdue.After
		s.replyLocked(res, nil)
	case need:
		if !s.retrying {
			s.retrying = true
			s.hub.retry(s) // the log has yet to reach the reader's place
		}
		s.mu.Unlock()
	default:
		if s.pending > 0 { // since the room was looked at
			s.hub.wg.Go(s.answer)
		}
		s.mu.Unlock()
	}
}

// needsStoreLocked tells whether a member with something to look at has left
// its log.
func (s *Subscriber) needsStoreLocked() bool {
	for _, m := range s.members {
		if !m.pending {
			continue
		}
		m.room.mu.Lock()
		lost := !m.attached || m.seq < m.room.log.first
		m.room.mu.Unlock()
		if lost {
			return true
		}
	}
	return false
}

// replyLocked ends the poll with an answer. It gives mu back.
func (s *Subscriber) replyLocked(res PollResult, err error) {
	w := s.takeWaiterLocked()
	s.endLocked(End{})
	s.mu.Unlock()
	w.Answer(res, err)
}

// timeUp answers a parked poll with nothing but its cursor.
func (s *Subscriber) timeUp(res PollResult) {
	s.mu.Lock()
	s.timeUpLocked(res)
}

// timeUpLocked gives mu back.
func (s *Subscriber) timeUpLocked(res PollResult) {
	if s.waiter == nil {
		s.mu.Unlock()
		return
	}
	if s.collecting { // what is being collected is the answer
		s.overdue = &res
		s.mu.Unlock()
		return
	}
	res.Cursor = s.pollCursorLocked()
	s.replyLocked(res, nil)
}
