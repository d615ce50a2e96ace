package bench

import (
	"bytes"
	"strconv"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

// minSize is the least a message's data needs: three numbers and their names.
const minSize = 80

// appendData appends the data of a message: its number in the run, its number
// in its room, the time of its publish, and as much filling as makes size bytes.
func appendData(dst []byte, n, seq uint64, at time.Duration, size int) []byte {
	start := len(dst)
	dst = append(dst, `{"n":`...)
	dst = strconv.AppendUint(dst, n, 10)
	dst = append(dst, `,"s":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"t":`...)
	dst = strconv.AppendInt(dst, int64(at), 10)
	dst = append(dst, `,"fill":"`...)
	for len(dst)-start < size-2 {
		dst = append(dst, 'x')
	}
	return append(dst, '"', '}')
}

// maxID is the longest id of a message.
const maxID = 24

// seen is a message as a subscriber saw it.
type seen struct {
	n, seq uint64
	offset uint64 // seq, where the server gives messages no offset
	at     time.Duration
	id     [maxID]byte
	idLen  int
	odd    bool   // its data is not what appendData made
	raw    []byte // as it came, for comparison
	sum    uint64 // of raw; 0 where the server has no envelopes
}

// readData fills in what data says, of a run whose data has size bytes. False
// means that it is not ours.
func (m *seen) readData(data []byte, size int) bool {
	found := 0
	m.odd = len(data) != size
	err := parse.Object(data, func(key, value []byte) error {
		var into *uint64
		switch string(key) {
		case "n":
			into = &m.n
		case "s":
			into = &m.seq
		case "t":
			t, err := strconv.ParseInt(string(value), 10, 64)
			m.at = time.Duration(t)
			found++
			return err
		case "fill":
			m.odd = m.odd || bytes.Count(value, []byte{'x'}) != len(value)-2 // in quotes
			return nil
		default:
			m.odd = true
			return nil
		}
		v, err := strconv.ParseUint(string(value), 10, 64)
		*into = v
		found++
		return err
	})
	return err == nil && found == 3
}

// record is a message that is on its way.
type record struct {
	room     *room
	seq      uint64 // its number in the room
	offset   uint64 // 0: not known yet
	sum      uint64 // of the envelope that was seen first; 0: none was
	left     int32  // steady subscribers that have not got it yet
	answered bool   // the publish was
	measured bool   // it counts for the result
}

// ledger has the records of the messages that are on their way: a ring.
type ledger struct {
	ring []record
	base uint64 // number of the first
	next uint64 // number after the last
}

// maxUnsettled bounds the ledger.
const maxUnsettled = 1 << 21

// first is the number of a run's first message.
const first = 1

func newLedger() *ledger { return &ledger{ring: make([]record, 1024), base: first, next: first} }

// len is how many there are, settled ones behind the first included.
func (l *ledger) len() int { return int(l.next - l.base) }

// add adds a record under the next number. It stays in its place until the
// next call.
func (l *ledger) add(r record) (n uint64) {
	if l.len() == len(l.ring) {
		ring := make([]record, 2*len(l.ring))
		for n := l.base; n < l.next; n++ {
			ring[n%uint64(len(ring))] = l.ring[n%uint64(len(l.ring))]
		}
		l.ring = ring
	}
	n = l.next
	l.next++
	l.ring[n%uint64(len(l.ring))] = r
	return n
}

// get returns a record, nil where it is settled or never was.
func (l *ledger) get(n uint64) *record {
	if n < l.base || n >= l.next {
		return nil
	}
	return &l.ring[n%uint64(len(l.ring))]
}

// settle forgets what has arrived everywhere.
func (l *ledger) settle() {
	for l.base < l.next {
		r := &l.ring[l.base%uint64(len(l.ring))]
		if r.left > 0 || !r.answered {
			return
		}
		*r = record{}
		l.base++
	}
}

// each calls f for every record that is not settled.
func (l *ledger) each(f func(*record)) {
	for n := l.base; n < l.next; n++ {
		f(l.get(n))
	}
}

// recentMessages is how many messages of a room are kept to be compared with
// what other subscribers get: a burst's.
const recentMessages = 16

// cachedFrom is the number of subscribers from which on that pays.
const cachedFrom = 4

// room is one of the run's rooms.
type room struct {
	name   string
	side   bool
	epoch  []byte
	subs   []*subscriber
	steady int32 // subscribers for whose receipt a message waits
	seq    uint64
	head   uint64 // highest offset known
	recent []seen
}

// known returns the message after offset if its bytes are p: then nothing needs
// to be parsed. Most of what a bench receives it has received before.
func (r *room) known(offset uint64, p []byte) *seen {
	if r.recent == nil {
		return nil
	}
	m := &r.recent[(offset+1)%recentMessages]
	if m.offset != offset+1 || !bytes.Equal(m.raw, p) {
		return nil
	}
	return m
}

func (r *room) remember(m *seen, p []byte) {
	if r.recent == nil {
		return
	}
	slot := &r.recent[m.offset%recentMessages]
	raw := append(slot.raw[:0], p...)
	*slot = *m
	slot.raw = raw
}
