package hub

import (
	"time"
)

// scratch is what putting a write together needs; reused.
type scratch struct {
	buf     []byte
	cursor  []byte
	entries []*entry
}

// maxScratch is the largest buffer that is kept for the next use.
const maxScratch = 128 << 10

func (h *Hub) takeScratch() *scratch { return h.scratches.Get().(*scratch) }

func (h *Hub) giveScratch(sc *scratch) {
	if cap(sc.buf) <= maxScratch {
		h.scratches.Put(sc)
	}
}

// maxSteps is how many writes in a row one subscriber gets on the fast path
// before its pump takes over.
const maxSteps = 4

// wantLocked notes that there may be something for a member.
func (s *Subscriber) wantLocked(m *membership) {
	if !m.pending && !m.gone {
		m.pending = true
		s.pending++
	}
}

func (s *Subscriber) doneLocked(m *membership) {
	if m.pending {
		m.pending = false
		s.pending--
	}
}

func (s *Subscriber) wroteLocked() {
	s.wrote = s.hub.coarse.Load()
	s.beat = false
}

// keepLocked holds what the connection did not take. p is not changed by
// anyone any more.
func (s *Subscriber) keepLocked(p []byte) {
	s.hub.held.Add(int64(len(p) - len(s.rest)))
	s.rest = p
}

func (s *Subscriber) failLocked(error) {
	s.endLocked(End{})
}

// kickLocked writes what there is without blocking, or has a pump do it.
func (s *Subscriber) kickLocked(sc *scratch) {
	if s.held || s.pumping || s.finished {
		return
	}
	if s.conn == nil {
		s.wakeLocked()
		return
	}
	if sc == nil {
		sc = s.hub.takeScratch()
		defer s.hub.giveScratch(sc)
	}
	if s.stepLocked(sc) {
		s.pumpLocked()
	}
}

// wakeLocked has a poll look again.
func (s *Subscriber) wakeLocked() {
	if s.waiter != nil {
		s.hub.wg.Go(s.answer)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// stepLocked writes without blocking until nothing is left; true means that a
// pump must go on.
func (s *Subscriber) stepLocked(sc *scratch) bool {
	for range maxSteps {
		p, kept := s.rest, true
		if len(p) == 0 {
			var need bool
			if p, need = s.gatherLocked(sc); len(p) == 0 {
				return need
			}
			kept = false
		}
		n, err := s.conn.TryWrite(p)
		s.wroteLocked()
		switch {
		case err != nil:
			s.failLocked(err)
			return false
		case n < len(p) && kept:
			s.keepLocked(p[n:])
			return true
		case n < len(p):
			s.keepLocked(append([]byte(nil), p[n:]...))
			return true
		case kept:
			s.keepLocked(nil)
		}
		if s.end != nil {
			return false // a gap has ended it; its pump is under way
		}
	}
	return true
}

// gatherLocked puts together the next write: private frames, then what the
// rooms' logs have, up to about WriteBytes, or else a heartbeat that is due. It
// advances the positions. need says that a member can only go on with the
// store. The bytes are sc's.
func (s *Subscriber) gatherLocked(sc *scratch) (p []byte, need bool) {
	buf := sc.buf[:0]
	if len(s.own) > 0 {
		for i, frame := range s.own {
			buf = append(buf, frame...)
			s.own[i] = nil
		}
		s.own, s.ownBytes = nil, 0
		if s.space != nil {
			close(s.space)
			s.space = nil
		}
	}
	if s.pending > 0 && s.end == nil {
		for _, m := range s.members {
			if len(buf) >= s.hub.o.WriteBytes {
				break
			}
			if !m.pending {
				continue
			}
			ok := false
			if buf, ok = s.gatherRoomLocked(sc, m, buf); !ok && !time.Now().Before(m.retryAt) {
				need = true
			}
			if s.end != nil {
				break
			}
		}
	}
	if len(buf) == 0 && s.beat {
		sc.cursor = s.appendCursorLocked(sc.cursor[:0])
		buf = s.framing.AppendHeartbeat(buf, time.Now().UnixMilli(), sc.cursor)
	}
	s.beat = false
	sc.buf = buf
	return buf, need
}

// gatherRoomLocked appends what a room's log has for a member; ok is false
// where the log cannot say what follows the member's position.
func (s *Subscriber) gatherRoomLocked(sc *scratch, m *membership, buf []byte) (_ []byte, ok bool) {
	from, ok := m.takeLocked(sc, 1<<30, s.hub.o.WriteBytes-len(buf))
	if !ok {
		return buf, false
	}
	for i, e := range sc.entries {
		m.pos = e.at()
		if !m.sees(from+uint64(i), e) {
			continue
		}
		if s.endOnGap && e.kind() == EventGap {
			s.endLocked(End{Code: EndGap, Message: "messages were lost before this place"})
			break
		}
		frame := e.frame(int(s.form), s.framing, &s.hub.held)
		if len(frame) == 0 {
			continue
		}
		buf = s.appendFrameLocked(sc, buf, frame)
		s.hub.stats.delivered.Add(1)
	}
	clear(sc.entries)
	return buf, true
}

// appendFrameLocked appends one frame, with the connection's own cursor where
// frames name it and there are several rooms.
func (s *Subscriber) appendFrameLocked(sc *scratch, buf, frame []byte) []byte {
	if len(s.members) == 1 || !s.framing.CursorInFrame() {
		return append(buf, frame...)
	}
	sc.cursor = s.appendCursorLocked(sc.cursor[:0])
	return s.framing.AppendWithCursor(buf, frame, sc.cursor)
}

// sees tells whether a log entry is for this member.
func (m *membership) sees(seq uint64, e *entry) bool {
	switch {
	case e.msg != nil:
	case e.other.Kind == EventPresence:
		return m.presence && seq >= m.live
	case e.other.Kind == EventMessage:
		return seq >= m.live
	}
	return true
}

// takeLocked moves the member on by as many log entries as there are, within
// count and about bytes, and leaves them in sc.entries; from is the first
// one's seq. It finds the member's place in the log first, if it has none. ok is
// false where that is not possible. When it has reached the head, the member is
// not pending any more.
func (m *membership) takeLocked(sc *scratch, count, bytes int) (from uint64, ok bool) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.log
	if m.attached && m.seq < l.first {
		m.attached = false
	}
	if !m.attached && !m.attachLocked(l) {
		return 0, false
	}
	from = m.seq
	sc.entries = sc.entries[:0]
	for m.seq < l.next && count > 0 && bytes > 0 {
		e := l.at(m.seq)
		sc.entries = append(sc.entries, e)
		m.seq++
		count--
		bytes -= 160 // an envelope, roughly
		if msg := e.message(); msg != nil {
			bytes -= len(msg.Data)
		}
	}
	if m.seq == l.next {
		m.sub.doneLocked(m)
	}
	return from, true
}

// attachLocked finds the member's position in its room's log. The room's mu is
// held too.
func (m *membership) attachLocked(l *log) bool {
	seq, ok := uint64(0), false
	if m.mark != "" {
		if seq, ok = l.seekMark(m.mark, m.pos); ok {
			m.live = 0
		}
	}
	if !ok {
		seq, ok = l.seek(m.pos)
	}
	if ok {
		// The same place, in the log's own words: the member need not keep the
		// request that it came with.
		m.seq, m.pos, m.attached, m.mark = seq, l.before(seq), true, ""
	}
	return ok
}
