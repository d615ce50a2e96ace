package hub

import (
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// log is the newest part of a room's events, kept once for all its readers. A
// reader is a sequence number into it. Entries are numbered from 0 for the
// life of the log, messages and other events alike.
//
// It has no lock of its own: the room's mu guards it. Entries themselves are
// immutable but for their wire forms, which are filled in as they are needed.
type log struct {
	id string // names this log in marks; set once

	ring  []*entry // entry seq is at ring[seq%len(ring)]; len is a power of two
	first uint64   // seq of the oldest entry
	next  uint64   // seq the next entry will get
	bytes int      // sum of the entries' sizes

	head Position // after the newest entry
	base Position // before the oldest entry

	// branch is the seq from which on entries belong to head's history without
	// a break, and branchAt the position there. A position is looked for from
	// here on only: before it lies another epoch or another fork.
	branch   uint64
	branchAt Position

	// the mark made last
	marked  string
	markSeq uint64
}

// entry is one event of a log. There are as many as there are messages in all
// logs together, so it is small and has few pointers: what the collector has to
// look at is a good part of what a message costs.
type entry struct {
	msg     *Message             // a message with a place in the history, which says everything; else nil
	other   *Event               // anything else
	wires   atomic.Pointer[wire] // the newest; mostly there is none, one, or a few
	encoded atomic.Int32         // bytes in wires that count in the hub's total
	evicted atomic.Bool
}

func newEntry(ev *Event) *entry {
	if ev.Kind == EventMessage && !ev.Message.Ephemeral() {
		return &entry{msg: ev.Message}
	}
	return &entry{other: new(*ev)}
}

func (e *entry) kind() EventKind {
	if e.msg != nil {
		return EventMessage
	}
	return e.other.Kind
}

// at is the event's At.
func (e *entry) at() Position {
	if e.msg != nil {
		return e.msg.Position()
	}
	return e.other.At
}

// message is the event's Message.
func (e *entry) message() *Message {
	if e.msg != nil {
		return e.msg
	}
	return e.other.Message
}

func (e *entry) event() Event {
	if m := e.msg; m != nil {
		return Event{Kind: EventMessage, Room: m.Room, At: m.Position(), Time: m.Time, Message: m}
	}
	return *e.other
}

// wire is one wire form of an entry. It is immutable.
type wire struct {
	form  int
	bytes []byte
	next  *wire // those that were there before
}

// find returns the wire of a form among w and those before it, nil for none.
func (w *wire) find(form int) *wire {
	for w != nil && w.form != form {
		w = w.next
	}
	return w
}

func newLog(head Position) log {
	return log{id: NewMessageID()[:6], head: head, base: head, branchAt: head}
}

// size is what the entry counts for in the log's bound.
func (e *entry) size() int {
	const overhead = 320 // the entry and what is around its wire forms
	if m := e.message(); m != nil {
		return overhead + m.Size()
	}
	return overhead
}

// encoder is what putting a frame together needs.
type encoder struct {
	ev  Event
	buf []byte
}

// encoders are used again.
var encoders = sync.Pool{New: func() any { return new(encoder) }}

// append appends the entry's wire form.
func (c *encoder) append(dst []byte, e *entry, f Framing) []byte {
	c.ev = e.event()
	dst = f.Append(dst, &c.ev)
	c.ev = Event{} // it must not keep the message alive
	return dst
}

// maxEncoder is the largest buffer that is kept for the next frame.
const maxEncoder = 64 << 10

// frame returns the entry's wire form, encoding it the first time; what it
// takes is added to held. Two callers at once may both encode; one result is
// kept.
func (e *entry) frame(form int, f Framing, held *atomic.Int64) []byte {
	before := e.wires.Load()
	if w := before.find(form); w != nil {
		return w.bytes
	}
	// What is not counted is not kept: the frame is copied to its size.
	c := encoders.Get().(*encoder)
	c.buf = c.append(c.buf[:0], e, f)
	b := append(make([]byte, 0, len(c.buf)), c.buf...)
	if cap(c.buf) <= maxEncoder {
		encoders.Put(c)
	}
	w := &wire{form: form, bytes: b, next: before}
	for !e.wires.CompareAndSwap(w.next, w) {
		w.next = e.wires.Load()
		if other := w.next.find(form); other != nil {
			return other.bytes
		}
	}
	e.encoded.Add(int32(len(b)))
	held.Add(int64(len(b)))
	if e.evicted.Load() {
		held.Add(-int64(e.encoded.Swap(0)))
	}
	return b
}

// drop gives back what the wire forms hold, now that the entry has left the log.
func (e *entry) drop(held *atomic.Int64) {
	e.evicted.Store(true)
	if e.encoded.Load() != 0 {
		held.Add(-int64(e.encoded.Swap(0)))
	}
}

func (l *log) at(seq uint64) *entry { return l.ring[seq&uint64(len(l.ring)-1)] }

func (l *log) len() int { return int(l.next - l.first) }

// append adds an event; its At becomes the head.
func (l *log) append(ev Event) *entry {
	if l.len() == len(l.ring) {
		l.grow()
	}
	e := newEntry(&ev)
	l.ring[l.next&uint64(len(l.ring)-1)] = e
	l.next++
	l.bytes += e.size()
	l.head = ev.At
	return e
}

func (l *log) grow() {
	ring := make([]*entry, max(8, 2*len(l.ring)))
	for seq := l.first; seq < l.next; seq++ {
		ring[seq&uint64(len(ring)-1)] = l.at(seq)
	}
	l.ring = ring
}

// jump notes that history goes on at a place that does not follow from head:
// positions before it are not looked for any more.
func (l *log) jump(at Position) {
	l.head, l.branch, l.branchAt = at, l.next, at
}

// evict drops the oldest entry and returns it.
func (l *log) evict() *entry {
	e := l.at(l.first)
	l.ring[l.first&uint64(len(l.ring)-1)] = nil
	l.first++
	l.bytes -= e.size()
	l.base = e.at()
	return e
}

// seek returns the seq of the first entry after p; ok is false where the log
// does not know p, and only the store can say what follows it.
//
// What has no offset has the place of the message before it, and comes after
// it: a reader that stands there may not have seen it.
func (l *log) seek(p Position) (seq uint64, ok bool) {
	from, at := l.branch, l.branchAt
	if from < l.first {
		from, at = l.first, l.base
	}
	if p == at {
		return from, true
	}
	if p.Epoch != l.head.Epoch {
		return 0, false
	}
	n := sort.Search(int(l.next-from), func(i int) bool { return l.at(from+uint64(i)).at().Offset >= p.Offset })
	seq = from + uint64(n)
	if seq == l.next || l.at(seq).at() != p {
		return 0, false
	}
	return seq + 1, true
}

// mark names a seq of this log in a poll's cursor, where it keeps the place
// among events without an offset.
func (l *log) mark(seq uint64) string {
	if l.marked == "" || seq != l.markSeq { // most readers stand at the same place
		l.marked, l.markSeq = l.id+strconv.FormatUint(seq, 36), seq
	}
	return l.marked
}

// seekMark finds the seq of a mark, where it is one of this log's and the
// position agrees with it.
func (l *log) seekMark(mark string, p Position) (seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(mark, l.id)
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(rest, 36, 64)
	if err != nil || seq < l.first || seq > l.next {
		return 0, false
	}
	return seq, l.before(seq) == p
}

// before is the position after which the entry seq comes, or will come.
func (l *log) before(seq uint64) Position {
	if seq > l.first {
		return l.at(seq - 1).at()
	}
	return l.base
}
