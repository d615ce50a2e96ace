package hub

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// PollRequest asks once for what has come into some rooms.
type PollRequest struct {
	Subscriptions []Subscription
	Form          int
	// Wait is how long to wait for a first event, 0 for not at all.
	Wait time.Duration
	// Limit and Bytes bound the answer; the first event is in it in any case.
	Limit, Bytes int
	// Client and From as in SubscriberOptions.
	Client, From string
}

// PollResult is the answer to a poll.
type PollResult struct {
	// Frames are the events' wire forms, shared: not to be changed.
	Frames [][]byte
	// Gaps are the gaps among the events.
	Gaps []*Gap
	// Cursor is where the next poll goes on. It has marks.
	Cursor Cursor
	// Draining: the node goes down; the next poll should wait for After and
	// may go elsewhere.
	Draining bool
	After    time.Duration
	// Same is shared by results that are the same, which one message gives to
	// many polls; nil where nobody looked for others.
	Same *Same
}

// Same is where whoever answers the first of equal results may keep how, for
// the others.
type Same struct{ Answer atomic.Value }

// pollSpread is within what time polls come back to a node that drains.
const pollSpread = 2 * time.Second

// Poll answers as soon as there is an event, or after the wait, with none. Errors
// are those of NewSubscriber and Subscribe, ErrBehind, and the context's.
func (h *Hub) Poll(ctx context.Context, req PollRequest) (PollResult, error) {
	s := h.newPoll(&req)
	if err := h.admit(s); err != nil {
		return PollResult{}, err
	}
	defer s.End(End{})
	if _, err := s.Subscribe(ctx, req.Subscriptions); err != nil {
		return PollResult{}, err
	}
	sc := h.takeScratch()
	defer h.giveScratch(sc)
	return s.await(ctx, sc, &req)
}

func (h *Hub) newPoll(req *PollRequest) *Subscriber {
	return &Subscriber{
		hub: h, form: uint8(req.Form), framing: h.o.Framings[req.Form], transport: "poll", client: req.Client, from: req.From,
		wake: make(chan struct{}, 1), ending: make(chan struct{}),
	}
}

// await waits for a first event.
func (s *Subscriber) await(ctx context.Context, sc *scratch, req *PollRequest) (PollResult, error) {
	timer := time.NewTimer(req.Wait)
	defer timer.Stop()
	for {
		res, need, err := s.collect(ctx, sc, req)
		if err != nil || !res.empty() {
			return res, err
		}
		var retry <-chan time.Time
		if need {
			retry = time.After(100 * time.Millisecond)
		}
		select {
		case <-s.wake:
		case <-retry:
		case <-timer.C:
			return res, nil
		case <-s.hub.draining:
			res.Draining, res.After = true, spreadOut(pollSpread)
			return res, nil
		case <-s.ending:
			return res, ErrClosed
		case <-ctx.Done():
			return res, ctx.Err()
		}
	}
}

// collect takes what there is. need says that some room has to be looked at
// again although nothing will wake the poll.
func (s *Subscriber) collect(ctx context.Context, sc *scratch, req *PollRequest) (res PollResult, need bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collectLocked(ctx, sc, req)
}

// collectLocked gives mu back while it reads from the store.
func (s *Subscriber) collectLocked(ctx context.Context, sc *scratch, req *PollRequest) (res PollResult, need bool, err error) {
	size := 0
	add := func(m *membership, ev *Event, frame []byte) {
		m.pos = ev.At
		if ev.Kind == EventGap {
			s.hub.stats.gaps.Add(1)
			res.Gaps = append(res.Gaps, ev.Gap)
		}
		if len(frame) > 0 {
			res.Frames = append(res.Frames, frame)
			size += len(frame)
		}
	}
	// Not always the same room first, or a busy one would keep the others out.
	n := len(s.members)
	first := 0
	if n > 1 {
		first = rand.IntN(n)
	}
	for i := range n {
		m := s.members[(first+i)%n]
		for m.pending && len(res.Frames) < req.Limit && size < req.Bytes {
			from, ok := m.takeLocked(sc, req.Limit-len(res.Frames), req.Bytes-size)
			if ok {
				for j, e := range sc.entries {
					ev := e.event()
					m.pos = ev.At
					if m.sees(from+uint64(j), e) {
						add(m, &ev, e.frame(int(s.form), s.framing, &s.hub.held))
					}
				}
				clear(sc.entries)
				continue
			}
			at := m.pos
			page, err := s.readPollLocked(ctx, m, req.Limit-len(res.Frames), req.Bytes-size)
			switch {
			case err != nil && len(res.Frames)+len(res.Gaps) > 0:
				// What there is goes out; the next poll hears of the rest.
				s.doneLocked(m)
				continue
			case err != nil:
				return res, false, err
			}
			if g := page.Gap; g != nil {
				ev := Event{Kind: EventGap, Room: m.room.name, At: g.To, Time: time.Now().UnixMilli(), Gap: g}
				add(m, &ev, s.framing.Append(nil, &ev))
			}
			for _, msg := range page.Messages {
				ev := Event{Kind: EventMessage, Room: m.room.name, At: msg.Position(), Time: msg.Time, Message: msg}
				add(m, &ev, s.framing.Append(nil, &ev))
			}
			m.room.learn(at, page)
			if page.Gap == nil && len(page.Messages) == 0 {
				need = true // the log has not reached this place yet
				break
			}
		}
	}
	s.hub.stats.delivered.Add(int64(len(res.Frames)))
	res.Cursor = s.pollCursorLocked()
	return res, need, nil
}

func (s *Subscriber) readPollLocked(ctx context.Context, m *membership, limit, bytes int) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.hub.o.StoreTimeout)
	defer cancel()
	r := ReadRequest{Room: m.room.name, Mode: ReadAfter, From: m.pos, Limit: limit, Bytes: bytes}
	s.mu.Unlock()
	page, err := s.hub.store.Read(ctx, r)
	s.mu.Lock()
	if err == nil && s.end != nil {
		err = ErrClosed
	}
	return page, err
}

// pollCursorLocked is the cursor with marks: a poll is away between two
// requests, and what has no offset must neither be lost then nor come twice.
func (s *Subscriber) pollCursorLocked() Cursor {
	c := s.cursorLocked()
	for i, m := range s.members {
		switch {
		case m.attached:
			m.room.mu.Lock()
			c[i].Mark = m.room.log.mark(m.seq)
			m.room.mu.Unlock()
		default:
			c[i].Mark = m.mark
		}
	}
	return c
}
