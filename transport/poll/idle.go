package poll

import (
	"io"
	"net/http"
	"os"
	"time"
)

// idleTimeout is how long a connection is kept for its next request: as long as
// the HTTP server keeps one.
const idleTimeout = 75 * time.Second

// How long a request may take that comes in pieces, as long as with the HTTP
// server of the program: its head, and its body from its head on.
const (
	headTimeout = 10 * time.Second
	bodyTimeout = 30 * time.Second
)

// began is when the clock of parked.since began.
var began = time.Now()

// startTimer begins to look at how long the connection is silent.
func (c *parked) startTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != parkClosed {
		c.idle, c.ticking = time.AfterFunc(idleTimeout, c.tick), true
	}
}

// restLocked begins the wait for the next request. The timer is not set anew
// for each: it looks when it strikes.
func (c *parked) restLocked() {
	c.state = parkIdle
	c.since, c.patience = time.Since(began), idleTimeout
	if !c.ticking && c.idle != nil {
		c.ticking = true
		c.idle.Reset(idleTimeout)
	}
}

// tick closes a connection on which nothing further came.
func (c *parked) tick() {
	c.mu.Lock()
	left := c.patience - (time.Since(began) - c.since)
	switch {
	case c.state != parkIdle:
		c.ticking = false
	case left > 0:
		c.idle.Reset(left)
	case c.next != nil:
		part := c.next
		c.next, c.state = nil, parkServing
		c.mu.Unlock()
		c.h.work(func() { c.late(part) })
		return
	default:
		c.mu.Unlock()
		c.shut()
		return
	}
	c.mu.Unlock()
}

// expire closes a connection on which no poll waits.
func (c *parked) expire() {
	c.mu.Lock()
	idle := c.state == parkIdle && c.next == nil // what has begun may become a publish
	c.mu.Unlock()
	if idle {
		c.shut()
	}
}

// rest begins the wait for the next request, or for what is missing of one that
// has begun.
func (c *parked) rest(part []byte, found posted) {
	c.mu.Lock()
	if c.state == parkServing {
		since, patience := c.since, c.patience
		c.restLocked()
		if len(part) > 0 {
			c.awaitLocked(part, found, since, patience)
		}
	}
	c.mu.Unlock()
	if c.h.closing.Load() {
		c.expire() // it was not idle when all that were ended
	}
}

// awaitLocked waits for what is missing. since and patience are what held until
// now.
func (c *parked) awaitLocked(part []byte, found posted, since, patience time.Duration) {
	c.next, c.patience = part, c.h.headTimeout
	if found == postHead {
		c.patience = c.h.bodyTimeout
	}
	if c.patience == patience {
		c.since = since // not anew with each piece
	}
	if c.idle != nil {
		c.ticking = true
		c.idle.Reset(c.patience - (time.Since(began) - c.since))
	}
}

// nothing follows, and nothing has come in time.
var (
	nothing       = failing{io.EOF}
	nothingInTime = failing{os.ErrDeadlineExceeded}
)

// failing is a reader that has nothing but an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// late ends a connection of which a part of a request did not come in time, as
// the HTTP server does: without a word in its head, with an answer in its body.
func (c *parked) late(part []byte) {
	var head [maxHead]byte
	if _, found := parsePost(part, head[:0]); found == postHead {
		if r := c.parsePost(part, nothingInTime); r != nil {
			w := &answer{c: c, header: make(http.Header, 4), status: http.StatusOK, last: true}
			if c.run(w, r) {
				c.writeAll(w.append(nil))
				c.leave()
			}
			return
		}
	}
	c.shut()
}
