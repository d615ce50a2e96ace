package poll

// round gathers the answers of a poller's round, to write them when all that
// has arrived is served. An answer wakes its client, and clients that are woken
// one by one send their next requests one by one: each then costs the waits and
// wake-ups that many could share. It is owned by the poller's goroutine.
type round struct {
	h       *Handler
	pending []pending
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

// end writes what has gathered.
func (r *round) end() {
	for i := range r.pending {
		p := &r.pending[i]
		p.c.answer(p.buf, p.out, nil, postWhole, false)
		*p = pending{}
	}
	r.pending = r.pending[:0]
}
