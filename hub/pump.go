package hub

import (
	"context"
	"errors"
	"os"
	"time"
)

// writeChunk is how much must go out within one WriteTimeout.
const writeChunk = 16 << 10

var errSlow = errors.New("the connection takes nothing")

// pumpLocked starts the writer of a connection that cannot be written to, or
// not only, without blocking. It ends when nothing is left.
func (s *Subscriber) pumpLocked() {
	if s.pumping || s.finished {
		return
	}
	s.pumping = true
	s.hub.stats.pumps.Add(1)
	s.hub.wg.Go(s.pump)
}

func (s *Subscriber) pump() {
	sc := s.hub.takeScratch()
	defer s.hub.giveScratch(sc)
	s.mu.Lock()
	defer s.mu.Unlock()
	broken := false
	for s.end == nil {
		p, kept, need := s.rest, true, false
		if len(p) == 0 {
			kept = false
			p, need = s.gatherLocked(sc)
			if len(p) == 0 && need {
				p = s.catchUpLocked(sc)
				if len(p) == 0 {
					continue
				}
			}
		}
		if len(p) == 0 {
			s.pumping = false
			return
		}
		err := s.writeLocked(p)
		if kept {
			s.keepLocked(nil)
		}
		if err == nil {
			continue
		}
		broken = true
		switch {
		case s.end != nil:
		case errors.Is(err, errSlow):
			// Its frame is cut in the middle: there is no place for last words.
			s.hub.stats.slow.Add(1)
			s.endLocked(End{Code: EndSlow, Message: "nothing was read for " + s.hub.o.WriteTimeout.String()})
		default:
			s.endLocked(End{})
		}
	}
	if !broken && s.end.Code != "" {
		s.lastWordsLocked(sc)
	} else {
		s.conn.Close()
	}
	s.finishLocked()
}

// writeLocked writes all of p, without mu, as long as the connection takes
// something within each WriteTimeout.
func (s *Subscriber) writeLocked(p []byte) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	for len(p) > 0 {
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.hub.o.WriteTimeout)); err != nil {
			return err
		}
		n, err := s.conn.Write(p[:min(len(p), writeChunk)])
		p = p[n:]
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errSlow
		default:
			return err
		}
	}
	s.conn.SetWriteDeadline(time.Time{})
	return nil
}

// lastWordsLocked writes what is still owed and the end. Time is bounded: End
// has set the connection to be closed after EndTimeout.
func (s *Subscriber) lastWordsLocked(sc *scratch) {
	if len(s.rest) > 0 {
		p := s.rest
		err := s.writeLocked(p)
		s.keepLocked(nil)
		if err != nil {
			s.conn.Close()
			return
		}
	}
	p, _ := s.gatherLocked(sc)
	sc.cursor = s.appendCursorLocked(sc.cursor[:0])
	sc.buf = s.framing.AppendEnd(p, *s.end, sc.cursor)
	if err := s.writeLocked(sc.buf); err != nil {
		s.conn.Close()
		return
	}
	// Where the connection can be shut for writing only, the peer gets to read
	// the last words although more from it may be on its way; EndTimeout closes
	// the rest.
	if s.closeWriteLocked() != nil {
		s.conn.Close()
	}
}

var errNotHalf = errors.New("the connection has no half that could be closed")

// closeWriteLocked runs without mu: over TLS, closing is a write too.
func (s *Subscriber) closeWriteLocked() error {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok {
		return errNotHalf
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	return half.CloseWrite()
}

// catchUpLocked reads from the store for one member that the log cannot serve,
// and returns what is to be written.
func (s *Subscriber) catchUpLocked(sc *scratch) []byte {
	var m *membership
	now := time.Now()
	for _, c := range s.members {
		if c.pending && !c.attached && !now.Before(c.retryAt) {
			m = c
			break
		}
	}
	if m == nil {
		return nil
	}
	page, err := s.readLocked(m, 256, s.hub.o.WriteBytes)
	if s.end != nil || m.gone {
		return nil
	}
	if err != nil {
		s.retryLocked(m)
		return nil
	}
	s.hub.stats.caughtUp.Add(int64(len(page.Messages)))
	buf, from, framing := sc.buf[:0], m.pos, s.framing
	if costly, ok := framing.(sharedFraming); ok {
		framing = costly.ForOne()
	}
	show := func(ev Event) {
		m.pos = ev.At
		if frame := framing.Append(nil, &ev); len(frame) > 0 {
			buf = s.appendFrameLocked(sc, buf, frame)
			s.hub.stats.delivered.Add(1)
		}
	}
	if g := page.Gap; g != nil {
		s.hub.stats.gaps.Add(1)
		if s.endOnGap {
			s.endLocked(End{Code: EndGap, Message: "messages were lost before this place"})
			return nil
		}
		show(Event{Kind: EventGap, Room: m.room.name, At: g.To, Time: now.UnixMilli(), Gap: g})
	}
	for _, msg := range page.Messages {
		show(Event{Kind: EventMessage, Room: m.room.name, At: msg.Position(), Time: msg.Time, Message: msg})
	}
	m.room.learn(from, page)
	if page.Gap == nil && len(page.Messages) == 0 {
		// The reader is ahead of the log, which now catches up.
		s.retryLocked(m)
	}
	sc.buf = buf
	return buf
}

// readLocked reads, without mu, what the store has after a member's position.
func (s *Subscriber) readLocked(m *membership, limit, bytes int) (Page, error) {
	ctx, cancel := context.WithTimeout(s.hub.ctx, s.hub.o.StoreTimeout)
	defer cancel()
	s.reading = cancel
	r := ReadRequest{Room: m.room.name, Mode: ReadAfter, From: m.pos, Limit: limit, Bytes: bytes}
	s.mu.Unlock()
	page, err := s.hub.store.Read(ctx, r)
	s.mu.Lock()
	s.reading = nil
	return page, err
}

// retryLocked has the tick look at the member again.
func (s *Subscriber) retryLocked(m *membership) {
	m.retryAt = time.Now().Add(time.Second)
	if !s.retrying {
		s.retrying = true
		s.hub.retry(s)
	}
}
