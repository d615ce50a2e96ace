package poll

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/read"
)

// Parker is a hub that can hold polls without a goroutine each.
type Parker interface {
	PollOrPark(ctx context.Context, req hub.PollRequest, park func() (hub.Waiter, error)) (hub.PollResult, *hub.Subscriber, error)
	PollAtOnce(req *hub.PollRequest, w hub.Waiter) (hub.PollResult, *hub.Subscriber, bool)
}

const (
	// idleTimeout is how long a connection is kept for its next poll: as long
	// as the HTTP server keeps one.
	idleTimeout = 75 * time.Second
	// writeTimeout bounds the writing of an answer that the connection did
	// not take at once.
	writeTimeout = 30 * time.Second
	// maxEarly bounds what a client may send while its poll waits; it is
	// dropped, and the connection closed behind the answer.
	maxEarly = 64 << 10
)

// parkState is what a parked connection is doing.
type parkState uint8

const (
	parkWaiting parkState = iota // for the hub's answer
	parkIdle                     // for the next request
	parkServing                  // a request; reading is paused, or the poller itself serves
	parkWriting                  // an answer that was not taken at once
	parkClosed
)

// parked is a connection that was taken over from the HTTP server because its
// poll has to wait. Polls that follow on it are read here; any other request
// goes back to the HTTP server, with the connection.
type parked struct {
	conn.Polled
	h    *Handler  // set once
	back *listener // the HTTP server; set once

	mu      sync.Mutex
	state   parkState       // guarded by mu
	ticking bool            // guarded by mu; idle runs
	sub     *hub.Subscriber // guarded by mu; the poll that waits
	early   int             // guarded by mu; bytes that came while it waited
	next    []byte          // guarded by mu; a request that came while the answer was written
	idle    *time.Timer     // guarded by mu
	since   time.Duration   // guarded by mu; the last answer, on the clock of began

	// of the poll that waits, set before it does
	header []byte // lines that the answer has besides its own
	bare   bool
}

// canPark reports whether a request's connection may be taken over.
func (p *Handler) canPark(r *http.Request) bool {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	return ok && server != nil && p.parker != nil && p.o.Poller != nil && r.Method == http.MethodGet &&
		r.ProtoMajor == 1 && r.ProtoMinor >= 1 && !r.Close && r.TLS == nil
}

// servePark answers a poll at once, or parks it.
func (p *Handler) servePark(w http.ResponseWriter, r *http.Request, q read.Request) {
	req := p.request(q)
	again := answerOf(w)
	var lines []byte
	if again != nil && again.decide != "" {
		lines = again.c.back.heads.remember(again.decide, headerLines(w)).lines
	}
	var c *parked
	park := func() (hub.Waiter, error) {
		if again != nil {
			c = again.take()
		} else {
			nc, brw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return nil, err
			}
			if again, ok := nc.(*prefixed); ok && len(again.prefix) == 0 {
				nc = again.Conn
			}
			c = p.newParked(r, nc)
			c.early = brw.Reader.Buffered()
		}
		if lines == nil {
			lines = headerLines(w)
		}
		c.header, c.bare = lines, q.Bare
		return c, nil
	}
	res, sub, err := p.parker.PollOrPark(r.Context(), req, park)
	if sub == nil {
		p.reply(w, r, q, &res, err)
		return
	}
	c.waits(sub)
}

// headerLines are the lines that an answer has so far.
func headerLines(w http.ResponseWriter) []byte {
	var b bytes.Buffer
	w.Header().Write(&b)
	return b.Bytes()
}

func (p *Handler) newParked(r *http.Request, nc net.Conn) *parked {
	c := &parked{h: p}
	c.Init(nc, func() { p.forget(c) })
	c.Tune(p.o.Tuning)
	p.remember(c, r.Context().Value(http.ServerContextKey).(*http.Server))
	return c
}

// waits notes the poll that the connection waits for, and begins to read where
// this is its first one.
func (c *parked) waits(sub *hub.Subscriber) {
	c.mu.Lock()
	first := c.idle == nil
	gone := c.state == parkClosed
	if c.state == parkWaiting { // else it has been answered already
		c.sub = sub
	}
	if first {
		c.idle, c.ticking = time.AfterFunc(idleTimeout, c.tick), true
	}
	c.mu.Unlock()
	if gone {
		sub.End(hub.End{})
		return
	}
	if first {
		c.Poll(c.h.o.Poller, c)
	}
}

// began is when the clock of parked.since began.
var began = time.Now()

// restLocked begins the wait for the next request. The timer is not set anew
// for each: it looks when it strikes.
func (c *parked) restLocked() {
	c.state = parkIdle
	c.since = time.Since(began)
	if !c.ticking && c.idle != nil {
		c.ticking = true
		c.idle.Reset(idleTimeout)
	}
}

// tick closes a connection on which no further poll came.
func (c *parked) tick() {
	c.mu.Lock()
	left := idleTimeout - (time.Since(began) - c.since)
	switch {
	case c.state != parkIdle:
		c.ticking = false
	case left > 0:
		c.idle.Reset(left)
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
	idle := c.state == parkIdle
	c.mu.Unlock()
	if idle {
		c.shut()
	}
}

// shut closes the connection, and gives up the poll that it waits for.
func (c *parked) shut() {
	c.mu.Lock()
	c.state = parkClosed
	sub := c.sub
	c.sub = nil
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	if sub != nil {
		sub.End(hub.End{})
	}
	c.Close()
}

// Answer implements hub.Waiter.
func (c *parked) Answer(res hub.PollResult, err error) {
	if errors.Is(err, hub.ErrClosed) {
		c.shut()
		return
	}
	buf := c.h.buffers.Get().(*[]byte)
	c.mu.Lock()
	if c.state == parkClosed {
		c.mu.Unlock()
		return
	}
	c.sub = nil
	last := err != nil || res.Draining || c.early > 0 || c.h.closing.Load()
	var dst []byte
	if err == nil {
		dst = c.appendOK((*buf)[:0], &res, last)
	} else {
		dst = c.appendError((*buf)[:0], err)
	}
	// Under the lock: the next request may be here before this has returned.
	n, err := c.TryWrite(dst)
	rest := dst[n:]
	switch {
	case err != nil || last:
	case len(rest) > 0:
		c.state = parkWriting
	default:
		c.restLocked()
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		c.shut()
	case len(rest) > 0:
		// The writer takes the buffer with it.
		c.h.running.Go(func() { c.writeOn(rest, last) })
		return
	case last:
		c.leave()
	}
	if cap(dst) <= maxPooled {
		*buf = dst
		c.h.buffers.Put(buf)
	}
}

func (c *parked) writeOn(rest []byte, last bool) {
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.Write(rest); err != nil {
		c.shut()
		return
	}
	c.SetWriteDeadline(time.Time{})
	if last || c.h.closing.Load() {
		c.leave()
		return
	}
	c.mu.Lock()
	next := c.next
	c.next = nil
	switch {
	case c.state != parkWriting:
		next = nil // closed
	case next == nil:
		c.restLocked()
	default:
		c.state = parkServing
	}
	c.mu.Unlock()
	if next != nil {
		c.serve(next, "")
	}
}

// leave closes the connection behind its last answer.
func (c *parked) leave() {
	c.CloseWrite() // what the client has sent meanwhile must not make this a reset
	c.shut()
}

// Data implements poller.Handler.
func (c *parked) Data(_ *poller.Conn, b []byte) (more bool) {
	c.mu.Lock()
	switch c.state {
	case parkIdle:
		c.state = parkServing
		c.mu.Unlock()
		return c.request(b)
	case parkWriting:
		c.next = bytes.Clone(b)
	case parkWaiting:
		c.early += len(b)
		more = c.early <= maxEarly
	}
	c.mu.Unlock()
	return more
}

// Closed implements poller.Handler.
func (c *parked) Closed(*poller.Conn, error) { c.shut() }
