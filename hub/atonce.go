package hub

import (
	"context"
	"strings"
	"time"
)

// Seat is where the polls of one connection wait, one after the other: each next
// one finds the memory of the one before it, which is nothing to allocate and
// little to ask for from far away. Their Waiter is the same. The zero Seat is
// free. It is the caller's, who must not copy it.
type Seat struct {
	sub     Subscriber
	member  membership // in the common case, of one room
	members [1]*membership
	request PollRequest
}

// vacantLocked reports whether a poll may take the seat: the one before it is
// over, and nobody looks at it any more without noticing that. What others read
// without its mu is set for good the first time.
func (t *Seat) vacantLocked(h *Hub, w Waiter) bool {
	s := &t.sub
	if s.hub == nil {
		s.near, _ = w.(Nearer)
		s.hub, s.transport, s.finished, t.member.sub = h, "poll", true, s
	}
	return s.hub == h && s.finished && !s.collecting
}

// takeLocked gives the vacant seat to a poll, which has been counted in.
func (t *Seat) takeLocked(req *PollRequest) {
	s := &t.sub
	s.form, s.framing = uint8(req.Form), s.hub.o.Framings[req.Form]
	if s.client != req.Client {
		s.client = strings.Clone(req.Client)
	}
	if s.from != req.From {
		s.from = strings.Clone(req.From)
	}
	s.finished, s.end, s.done, s.overdue, s.pending = false, nil, nil, nil, 0
	s.members = t.members[:0]
	t.request = *req
	t.request.Client, t.request.From = s.client, s.from
}

// PollAtOnce is PollOrPark for a caller who must not wait, not even for a store:
// it answers at once with what the rooms' logs have, or has the poll wait in its
// seat for w to be answered later. It reports false, and has done nothing, where
// more is needed than the logs of rooms that are open here: PollOrPark does the
// rest. Nothing of req is kept after the call.
//
// The poll that it returns, of which the seat has the memory, may be Ended until
// w has been answered.
func (h *Hub) PollAtOnce(seat *Seat, req *PollRequest, w Waiter) (PollResult, *Subscriber, bool) {
	s := &seat.sub
	// Held throughout: whoever finds the poll before it waits would not know
	// whom to answer.
	s.mu.Lock()
	defer s.mu.Unlock()
	if !seat.vacantLocked(h, w) || !s.enterLocked(seat, req) {
		return PollResult{}, nil, false
	}
	if s.pending > 0 {
		sc := h.takeScratch()
		defer h.giveScratch(sc)
		res, need, err := PollResult{}, true, error(nil)
		if !s.needsStoreLocked() {
			res, need, err = s.collectLocked(elapsed, sc, &seat.request)
		}
		if need || err != nil {
			s.endLocked(End{})
			return PollResult{}, nil, false
		}
		if !res.empty() {
			s.endLocked(End{})
			return res, nil, true
		}
	}
	if req.Wait <= 0 {
		res := PollResult{Cursor: s.pollCursorLocked()}
		s.endLocked(End{})
		return res, nil, true
	}
	s.parkLocked(w, &seat.request)
	return PollResult{}, s, true
}

// elapsed has no time left: a log that loses a place between two looks at it
// must not have the caller wait for the store.
var elapsed = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// enterLocked joins the rooms where each is open and its log knows the reader's
// place. Presence begins only when that is certain.
func (s *Subscriber) enterLocked(seat *Seat, req *PollRequest) bool {
	subs := req.Subscriptions
	for i := range subs {
		if subs[i].Start.Kind != StartAfter {
			return false
		}
	}
	if len(subs) == 0 || len(subs) > s.hub.o.MaxRoomsPerSubscriber {
		return false
	}
	var few [1]*room
	rooms := few[:0]
	if len(subs) > len(few) {
		rooms = make([]*room, 0, len(subs))
	}
	rooms, ok := s.hub.acquireOpen(s, subs, rooms)
	if !ok {
		return false
	}
	seat.takeLocked(req)
	client := s.client
	s.client = "" // has not come yet, and would leave where a room is missing
	for i, r := range rooms {
		m := &seat.member
		if i > 0 {
			m = &membership{sub: s}
		}
		m.room, m.presence, m.gone, m.attached, m.pending, m.retryAt = r, subs[i].Presence, false, false, false, time.Time{}
		m.pos, m.mark = subs[i].Start.At.Position, subs[i].Start.At.Mark
		r.mu.Lock()
		m.live = r.log.next
		found := m.attachLocked(&r.log)
		if found {
			r.joinLocked(m)
			if m.seq < r.log.next {
				s.wantLocked(m)
			}
		}
		r.mu.Unlock()
		if !found {
			m.gone = true
			for _, rest := range rooms[i:] {
				s.hub.release(rest)
			}
			s.endLocked(End{})
			return false
		}
		s.members = append(s.members, m)
	}
	if s.client = client; client != "" {
		for _, r := range rooms {
			s.hub.presence.join(r.name, client, s.from)
		}
	}
	return true
}

// acquireOpen counts a subscriber in and acquires its rooms, all or nothing, if
// they are open.
func (h *Hub) acquireOpen(s *Subscriber, subs []Subscription, rooms []*room) ([]*room, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range subs {
		r := h.rooms[subs[i].Room]
		if r == nil {
			return nil, false
		}
		select {
		case <-r.ready:
		default:
			return nil, false
		}
		if r.err != nil {
			return nil, false
		}
		rooms = append(rooms, r)
	}
	if h.admitLocked(s) != nil {
		return nil, false // PollOrPark says why
	}
	for _, r := range rooms {
		r.refs++
	}
	return rooms, true
}

// polled is a round's entries as the answer to polls of one room that stand
// exactly before them.
type polled struct {
	done  bool
	whole bool // the entries can be answered with as a whole
	res   PollResult
	bytes int
}

// answerAllLocked answers a parked poll that stands before the round's entries and
// takes them all, as nearly all do, with the answer of the one before it. It
// gives the subscriber's mu back then.
func (w *worker) answerAllLocked(m *membership) bool {
	s := m.sub
	if s.collecting || s.pending > 0 || len(s.members) != 1 || !m.attached || m.seq != w.from || m.live > w.from || len(w.entries) == 0 {
		return false
	}
	p := w.poll(int(s.form), s.framing, m)
	if !p.whole || len(p.res.Frames) > s.request.Limit || p.bytes > s.request.Bytes {
		return false
	}
	m.seq += uint64(len(w.entries))
	m.pos = p.res.Cursor[0].Position
	w.delivered += int64(len(p.res.Frames))
	s.replyLocked(p.res, nil)
	return true
}

// poll puts the round's entries together as an answer in one form.
func (w *worker) poll(form int, f Framing, m *membership) *polled {
	i := 2 * form
	if m.presence {
		i++
	}
	p := &w.polled[i]
	if p.done {
		return p
	}
	p.done = true
	w.made = append(w.made, i)
	frames := make([][]byte, 0, len(w.entries))
	for _, e := range w.entries {
		switch {
		case e.kind() == EventGap:
			return p // each is counted, and told apart
		case e.kind() == EventPresence && !m.presence:
			continue
		}
		if frame := e.frame(form, f, &w.hub.held); len(frame) > 0 {
			frames = append(frames, frame)
			p.bytes += len(frame)
		}
	}
	if len(frames) == 0 {
		return p
	}
	r := m.room
	to := w.from + uint64(len(w.entries))
	r.mu.Lock()
	mark := r.log.mark(to)
	r.mu.Unlock()
	at := w.entries[len(w.entries)-1].at()
	p.whole = true
	p.res = PollResult{Frames: frames, Cursor: Cursor{{Room: r.name, Position: at, Mark: mark}}, Same: new(Same)}
	return p
}
