package bench

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

// Frame implements parse.FrameSink.
func (s *subscriber) Frame(op byte, payload []byte) error {
	switch op {
	case parse.OpText, parse.OpBinary:
		return s.payload(payload)
	case parse.OpPing:
		s.conn.Write(parse.AppendFrame(nil, parse.OpPong, payload))
	case parse.OpClose:
		if len(payload) >= 2 {
			err := fmt.Errorf("%w: close code %d", errEnded, int(payload[0])<<8|int(payload[1]))
			if len(payload) > 2 {
				err = fmt.Errorf("%w: %s", err, payload[2:])
			}
			return err
		}
		return errEnded
	}
	return nil
}

// Body implements parse.BodySink.
func (s *subscriber) Body(p []byte) error {
	if s.transport == transportSSE {
		return s.events.Feed(p, s)
	}
	return s.lines.Feed(p, s)
}

// Event implements parse.EventSink.
func (s *subscriber) Event(_, _, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	return s.payload(data)
}

// Line implements parse.LineSink.
func (s *subscriber) Line(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return s.payload(p)
}

// Answer implements parse.AnswerSink: polls, and refusals of the others.
func (s *subscriber) Answer(h *parse.Head, body []byte) error {
	if s.refusal != 0 {
		return s.refused(h.Status, body)
	}
	if s.run.o.peer == peerNchan {
		return s.nchanAnswer(h, body)
	}
	if h.Status != 200 {
		return s.refused(h.Status, body)
	}
	cursor, err := parse.Poll(body, s.payload)
	if err != nil {
		return err
	}
	if err := s.start(cursor); err != nil {
		return err
	}
	if s.cursor != string(cursor) {
		s.cursor = string(cursor)
	}
	if h.Close {
		return errEnded
	}
	s.becomeReady()
	s.request()
	return nil
}

// nchanAnswer: Nchan goes by the headers of conditional requests. Without them
// it starts with the next message.
func (s *subscriber) nchanAnswer(h *parse.Head, body []byte) error {
	switch h.Status {
	case 200:
		if err := s.payload(body); err != nil {
			return err
		}
	case 304, 408: // the wait is over
	default:
		return s.refused(h.Status, body)
	}
	if len(h.ETag) > 0 {
		s.etag, s.modified = string(h.ETag), string(h.LastModified)
	}
	if h.Close {
		return errEnded
	}
	s.request()
	return nil
}

var (
	typeMessage   = []byte("message")
	typeHello     = []byte("hello")
	typeGap       = []byte("gap")
	typeHeartbeat = []byte("heartbeat")
)

// payload takes one envelope, or a message's data where the server has no
// envelopes.
func (s *subscriber) payload(p []byte) error {
	if m := s.room.known(s.offset, p); m != nil {
		s.message(m)
		return nil
	}
	if s.run.o.peer == peerNchan {
		return s.bare(p)
	}
	var e parse.Envelope
	if err := e.Parse(p); err != nil {
		return err
	}
	switch {
	case bytes.Equal(e.Type, typeMessage):
		m := seen{offset: e.Offset}
		if !m.readData(e.Data, s.run.o.size) || e.Offset == 0 || len(e.ID) > maxID {
			return errForeign
		}
		m.idLen = copy(m.id[:], e.ID)
		m.sum = maphash.Bytes(s.run.seed, p)
		m.odd = m.odd || string(e.Room) != s.room.name
		if !bytes.Equal(s.room.epoch, e.Epoch) {
			s.newEpoch(e.Epoch)
		}
		s.room.remember(&m, p)
		s.message(&m)
	case bytes.Equal(e.Type, typeHello):
		if err := s.start(e.Cursor); err != nil {
			return err
		}
		s.becomeReady()
	case bytes.Equal(e.Type, typeGap):
		s.gap(p)
	case bytes.Equal(e.Type, typeHeartbeat):
		// A heartbeat's cursor lags behind nothing that was sent before it.
	case len(e.Code) > 0:
		return fmt.Errorf("%w: %s", errEnded, e.Code)
	case len(e.Error) > 0:
		return toldError(e.Error)
	}
	return nil
}

var (
	errForeign = errors.New("a message that this run did not publish")
	errOdd     = errors.New("a message with other content than was published")
	errUnlike  = errors.New("an envelope that differs from what another subscriber got")
)

// newEpoch: only a room's first message may bring one.
func (s *subscriber) newEpoch(epoch []byte) {
	if len(s.room.epoch) > 0 {
		s.run.checks.Different++
		s.run.faults.add(fmt.Errorf("the history of a room began anew"))
	}
	s.room.epoch = append(s.room.epoch[:0], epoch...)
}

// gap: the server says that messages are gone. They are not lost without a
// word, but nobody waits for them any more.
func (s *subscriber) gap(p []byte) {
	s.run.checks.Gaps++
	var to []byte
	parse.Object(p, func(key, value []byte) error { // it was parsed before
		if string(key) == "to" && len(value) > 2 {
			to = value[1 : len(value)-1]
		}
		return nil
	})
	s.unsteady()
	s.skipped = nil
	s.known = false
	if err := s.start(to); err != nil {
		s.run.faults.add(err)
	}
	s.known = true
}

// bare takes a message without an offset. Its number in the room stands in for
// one, though several publishers may bring them in another order.
func (s *subscriber) bare(p []byte) error {
	var m seen
	if !m.readData(p, s.run.o.size) {
		return errForeign
	}
	m.offset = m.seq
	s.room.remember(&m, p)
	s.message(&m)
	return nil
}

// message checks a message and counts it.
func (s *subscriber) message(m *seen) {
	r := s.run
	if !s.step(m) {
		return
	}
	s.id, s.idLen = m.id, m.idLen
	s.room.head = max(s.room.head, m.offset)
	r.delivered++
	if m.odd {
		r.checks.Different++
		r.faults.add(errOdd)
	}
	if rec := r.ledger.get(m.n); rec != nil {
		s.arrived(m, rec)
	} else if s.steady && r.checks.Unanswered == 0 {
		// It was settled, which it is not before this one has it: the same
		// message came before, under another offset.
		r.checks.Different++
	}
	r.progressed = r.now()
}

// step moves the position over a message; false means that it was there before.
func (s *subscriber) step(m *seen) bool {
	c := &s.run.checks
	if s.run.o.peer == peerNchan {
		return s.stepUnordered(m.seq)
	}
	switch {
	case m.offset == s.offset+1:
	case m.offset <= s.offset:
		if _, ok := s.skipped[m.offset]; ok {
			delete(s.skipped, m.offset)
			c.Lost--
			c.Disordered++
		} else {
			c.Repeated++
		}
		return false
	case s.known:
		c.Lost += int64(m.offset - s.offset - 1)
		s.skip(s.offset+1, m.offset)
		s.unsteady()
	}
	s.offset, s.known = m.offset, true
	return true
}

// maxSkipped bounds what is remembered of offsets that were passed over. One
// that comes after all and is not remembered counts as repeated.
const maxSkipped = 1000

// skip remembers the offsets in [from, to).
func (s *subscriber) skip(from, to uint64) {
	if s.skipped == nil {
		s.skipped = map[uint64]struct{}{}
	}
	for ; from < to && len(s.skipped) < maxSkipped; from++ {
		s.skipped[from] = struct{}{}
	}
}

// stepUnordered is step where messages may overtake each other: offset is then
// the number up to which there is no hole.
func (s *subscriber) stepUnordered(seq uint64) bool {
	c := &s.run.checks
	if seq <= s.offset {
		c.Repeated++
		return false
	}
	bit := seq - s.offset - 1
	if bit >= 64 {
		c.Lost++ // too far apart to be kept in mind
		return true
	}
	if s.ahead&(1<<bit) != 0 {
		c.Repeated++
		return false
	}
	for s.ahead |= 1 << bit; s.ahead&1 != 0; s.ahead >>= 1 {
		s.offset++
	}
	return true
}

// arrived settles a message that is on its way, for this subscriber.
func (s *subscriber) arrived(m *seen, rec *record) {
	r := s.run
	if rec.room != s.room || rec.seq != m.seq {
		r.checks.Different++
		r.faults.add(errOdd)
		return
	}
	if rec.offset == 0 {
		rec.offset = m.offset
	} else if rec.offset != m.offset {
		r.checks.Different++
	} else if rec.sum != 0 && m.sum != rec.sum && !m.odd { // what is odd has been counted
		r.checks.Different++
		r.faults.add(errUnlike)
	}
	if rec.sum == 0 && !m.odd {
		rec.sum = m.sum
	}
	if !s.steady {
		return
	}
	if m.n >= s.live {
		late := r.now() - m.at
		switch {
		case !s.room.side:
			if rec.measured {
				r.latency.Record(late)
			}
		case r.stormLag != nil:
			r.stormLag.Record(late)
		case rec.measured:
			r.sideLatency.Record(late)
		}
	}
	r.received(rec)
}

// received: one of those for whom the message waits has it.
func (r *run) received(rec *record) {
	if rec.left--; rec.left == 0 && rec.answered {
		r.placeFree(rec, untilDelivered)
	}
}

// answered: the publish was, or it failed. Nobody waits for a message that may
// not be there.
func (r *run) answered(rec *record, ok bool) {
	rec.answered = true
	if !ok {
		rec.left = 0
	}
	r.placeFree(rec, untilAnswered)
	if rec.left == 0 {
		r.placeFree(rec, untilDelivered)
	}
}
