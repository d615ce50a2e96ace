package bench

import (
	"errors"
	"time"
)

// traffic decides what is published when.
type traffic struct {
	on       bool
	measured bool  // what is published now counts
	limit    int64 // messages to publish, 0 for no limit

	main, side   schedule
	onTheirWay   int // messages of the main rooms whose place is not given to the next
	published    int64
	measuredSent int64
}

// schedule is a rate and the rooms it goes round.
type schedule struct {
	began time.Duration
	sent  int64 // since then
	next  int   // room
}

// mostAtOnce bounds what is published between two looks at the network.
const mostAtOnce = 1000

// begin starts publishing.
func (r *run) begin(measured bool, limit int64) {
	t := &r.traffic
	now := r.now()
	t.on, t.measured, t.limit, t.published = true, measured, limit, 0
	t.main.began, t.main.sent = now, 0
	t.side.began, t.side.sent = now, 0
}

// quiet tells whether all that was published has arrived everywhere.
func (r *run) quiet() bool {
	r.ledger.settle()
	return r.ledger.len() == 0
}

var errUnsettled = errors.New("two million messages are on their way and have not arrived everywhere: the server does not keep up with this rate")

// publishDue publishes what is due now and returns when to look again.
func (r *run) publishDue(now time.Duration) time.Duration {
	t := &r.traffic
	if !t.on {
		return step
	}
	if r.ledger.len() > maxUnsettled {
		r.fail(errUnsettled)
		return 0
	}
	wait := step
	free := func() bool {
		return !t.done() && (r.o.outstanding == 0 || t.onTheirWay+r.o.batch <= r.o.outstanding*r.o.batch)
	}
	if r.o.rate > 0 {
		wait = t.main.due(now, r.o.rate, func() bool {
			if !free() {
				return false
			}
			r.publishMain(1, r.now())
			return true
		})
	} else {
		for free() {
			r.publishMain(r.o.batch, 0)
		}
	}
	if len(r.side) > 0 && r.o.sideRate > 0 {
		wait = min(wait, t.side.due(now, r.o.sideRate, func() bool {
			r.sidePublishers.publish(sent{first: r.record(r.side[t.side.next%len(r.side)]), n: 1, due: r.now()})
			t.side.next++
			return true
		}))
	}
	return wait
}

// done tells whether enough was published.
func (t *traffic) done() bool { return t.limit > 0 && t.published >= t.limit }

// due publishes what a rate asks for by now, and returns when the next is due.
func (c *schedule) due(now time.Duration, rate float64, publish func() bool) time.Duration {
	for range mostAtOnce {
		at := c.began + time.Duration(float64(c.sent)/rate*float64(time.Second))
		if at > now {
			return at - now
		}
		if !publish() {
			return step
		}
		c.sent++
	}
	return 0
}

// publishMain publishes a request of n messages into the main room whose turn
// it is, or into as many. due is when a rate asked for it, 0 where none did.
func (r *run) publishMain(n int, due time.Duration) {
	t := &r.traffic
	request := sent{first: r.ledger.next, n: n, due: due}
	for i := range n {
		if i > 0 && r.o.spread {
			t.main.next++
		}
		r.record(r.main[t.main.next%len(r.main)])
	}
	t.main.next++
	t.onTheirWay += n
	t.published += int64(n)
	if t.measured {
		t.measuredSent += int64(n)
	}
	r.publishers.publish(request)
}

// record enters a message into the ledger.
func (r *run) record(to *room) uint64 {
	to.seq++
	return r.ledger.add(record{room: to, seq: to.seq, left: to.steady, measured: r.traffic.measured && r.traffic.on})
}

// placeFree gives a message's place to the next, at the event of --until.
func (r *run) placeFree(rec *record, event string) {
	if !rec.room.side && r.o.until == event {
		r.traffic.onTheirWay--
	}
}
