package poll

// round gathers the answers of a poller's round, to write them when all that
// has arrived is served. An answer wakes its client, and clients that are woken
// one by one send their next requests one by one: each then costs the waits and
// wake-ups that many could share. For the same reason what is published is
// delivered to small rooms behind the answers, and no worker is woken for each.
// It is owned by the poller's goroutine.
type round struct {
	h       *Handler
	pending []pending
	begun   bool // something is being served, and counted as that
	holds   bool // delivery, until the end
}

// hold holds delivery until the end of the round.
func (r *round) hold() {
	if !r.holds {
		r.holds = true
		r.h.o.Publisher.Hold()
	}
}

// pending are the answers of one connection, in a buffer of the Handler's.
type pending struct {
	c   *parked
	buf *[]byte
	out []byte
}

// maxPending is how many connections an answer waits for at most.
const maxPending = 32

func (r *round) add(c *parked, buf *[]byte, out []byte) {
	r.pending = append(r.pending, pending{c, buf, out})
	if len(r.pending) >= maxPending {
		r.end()
	}
}

// begin is called before anything is served.
func (r *round) begin() {
	if !r.begun {
		r.begun = true
		r.h.serving.add(1)
	}
}

// end writes what has gathered, and has it delivered.
func (r *round) end() {
	for i := range r.pending {
		p := &r.pending[i]
		p.c.answer(p.buf, p.out, nil, postWhole, false)
		*p = pending{}
	}
	r.pending = r.pending[:0]
	if r.holds {
		r.holds = false
		r.h.o.Publisher.Release()
	}
	if r.begun {
		r.begun = false
		r.h.serving.add(-1)
	}
}
