package memory

import "github.com/culvertd/culvert/hub"

// ring is a room's history, oldest first: a circular buffer whose capacity
// follows its length in powers of two, so that a quiet room is small.
type ring struct {
	buf   []held // length is 0 or a power of two
	start int
	n     int
}

// held is a message and when it came, on the store's own clock (instant.at):
// its age does not depend on the wall clock's jumps.
type held struct {
	m  *hub.Message
	at int64
}

const minRing = 4

func (r *ring) len() int { return r.n }

// at is the i-th oldest, 0 <= i < len.
func (r *ring) at(i int) *held { return &r.buf[(r.start+i)&(len(r.buf)-1)] }

func (r *ring) push(h held) {
	if r.n == len(r.buf) {
		r.resize(max(minRing, 2*len(r.buf)))
	}
	r.n++
	*r.at(r.n - 1) = h
}

// pop removes the oldest.
func (r *ring) pop() held {
	p := r.at(0)
	h := *p
	*p = held{}
	r.start = (r.start + 1) & (len(r.buf) - 1)
	r.n--
	switch {
	case r.n == 0:
		*r = ring{}
	case len(r.buf) > minRing && r.n <= len(r.buf)/4:
		r.resize(len(r.buf) / 2)
	}
	return h
}

func (r *ring) resize(size int) {
	buf := make([]held, size)
	for i := range r.n {
		buf[i] = *r.at(i)
	}
	r.buf, r.start = buf, 0
}
