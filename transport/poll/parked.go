package poll

import (
	"bytes"
	"context"
	"errors"
	"io"
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
	PollOrPark(ctx context.Context, req hub.PollRequest, park func() (hub.Waiter, *hub.Seat, error)) (hub.PollResult, *hub.Subscriber, error)
	PollAtOnce(seat *hub.Seat, req *hub.PollRequest, w hub.Waiter) (hub.PollResult, *hub.Subscriber, bool)
}

const (
	// writeTimeout is how long the connection may take nothing of an answer, or
	// only a part of a writePiece, and answerTimeout how long it may take for all
	// that is written together: as long as with the HTTP server of the program.
	writeTimeout  = 30 * time.Second
	answerTimeout = 2 * time.Minute
	writePiece    = 16 << 10
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
// poll has to wait, or because it publishes again and again. Polls and publishes
// that follow on it are read here; any other request goes back to the HTTP
// server, with the connection.
type parked struct {
	conn.Polled
	h    *Handler  // set once
	back *listener // the HTTP server; set once

	mu      sync.Mutex
	state   parkState       // guarded by mu
	ticking bool            // guarded by mu; idle runs
	sub     *hub.Subscriber // guarded by mu; the poll that waits
	early   int             // guarded by mu; bytes that came while it waited
	next    []byte          // guarded by mu; a request that came while the answer was written, or a part of one
	idle    *time.Timer     // guarded by mu
	since   time.Duration   // guarded by mu; the last answer, or the beginning of next, on the clock of began

	patience time.Duration // guarded by mu; from since on, while idle

	seat hub.Seat // of its polls, one after the other

	reads *publishers // set before it is read; nil where it is read with the other connections

	// of the poll that waits, set before it does
	header []byte // lines that the answer has besides its own
	bare   bool

	// owned by who serves
	parts  int8 // of which the next request has come so far
	breaks int8 // how many line breaks may come before it: see skipBreaks

	need int16 // publishes before it is taken over again, once it was given back; set before it is read
}

// canPark reports whether a request's connection may be taken over. With a body,
// of which nobody needs anything, it may not: what is still to come of that would
// be taken for the next request.
func (p *Handler) canPark(r *http.Request) bool {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	return ok && server != nil && p.parker != nil && p.o.Poller != nil && r.Method == http.MethodGet &&
		r.ProtoMajor == 1 && r.ProtoMinor >= 1 && !r.Close && r.TLS == nil && r.ContentLength == 0
}

// servePark answers a poll at once, or parks it.
func (p *Handler) servePark(w http.ResponseWriter, r *http.Request, q read.Request) {
	req := p.request(q)
	again := answerOf(w)
	var lines []byte
	if again != nil && again.decide != "" {
		lines = again.c.back.heads.remember(again.decide, head{lines: headerLines(w)}).lines
	}
	var c *parked
	park := func() (hub.Waiter, *hub.Seat, error) {
		if again != nil {
			c = again.take()
		} else {
			nc, brw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return nil, nil, err
			}
			c = p.newParked(r, Bare(nc))
			c.early = brw.Reader.Buffered()
		}
		if lines == nil {
			lines = headerLines(w)
		}
		c.header, c.bare = lines, q.Bare
		return c, &c.seat, nil
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
	c := &parked{h: p, patience: idleTimeout}
	if k, ok := r.Context().Value(keptKey{}).(*kept); ok {
		c.need = k.need
	}
	if p.o.Poller.Native(nc) {
		nc = conn.Lighten(nc)
	}
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
	c.mu.Unlock()
	if gone {
		sub.End(hub.End{})
		return
	}
	if first {
		c.startTimer()
		c.Poll(c.poller(), c)
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

// Near implements hub.Nearer and poller.Nearer.
func (c *parked) Near() {
	if c.h != nil { // which lies beside what else is looked at
		c.Polled.Near()
	}
}

// Answer implements hub.Waiter.
func (c *parked) Answer(res hub.PollResult, err error) {
	if errors.Is(err, hub.ErrClosed) {
		c.shut()
		return
	}
	var buf *[]byte // where dst is this answer's own
	c.mu.Lock()
	if c.state == parkClosed {
		c.mu.Unlock()
		return
	}
	c.sub = nil
	last := err != nil || res.Draining || c.early > 0 || c.h.closing.Load()
	var dst []byte
	if err == nil {
		dst = c.ok(&buf, &res, last)
	} else {
		dst = c.appendError(nil, err)
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
	if buf != nil && cap(dst) <= maxPooled {
		*buf = dst
		c.h.buffers.Put(buf)
	}
}

func (c *parked) writeOn(rest []byte, last bool) {
	if !c.writeAll(rest) {
		return
	}
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
		c.work(next)
	}
}

// leave closes the connection behind its last answer.
func (c *parked) leave() {
	c.CloseWrite() // what the client has sent meanwhile must not make this a reset
	c.shut()
}

// Data implements poller.Handler.
func (c *parked) Data(reg *poller.Conn, b []byte) (more bool) {
	c.mu.Lock()
	switch c.state {
	case parkIdle:
		part := c.next
		// Under the lock: Drain finds the connection idle, or it being served.
		over := c.servingLocked(reg)
		c.state, c.next = parkServing, nil
		c.mu.Unlock()
		defer over()
		if part != nil {
			b = append(part, b...)
		}
		return c.request(reg, b)
	case parkWriting:
		c.next = bytes.Clone(b)
	case parkWaiting:
		c.early += len(b)
		more = c.early <= maxEarly
	}
	c.mu.Unlock()
	return more
}

// servingLocked counts what follows as being served, where it may be a publish
// that the caller's goroutine carries out, until over is called or, where the
// answers are gathered, until they are written.
func (c *parked) servingLocked(reg *poller.Conn) (over func()) {
	switch {
	case c.h.o.Publisher == nil:
		return nothingToDo
	case c.reads != nil && reg.Native():
		c.reads.round.begin()
		return nothingToDo
	}
	c.h.serving.add(1)
	return c.h.served
}

func nothingToDo() {}

// Closed implements poller.Handler. What a request that ended early is
// answered is the HTTP server's affair.
func (c *parked) Closed(_ *poller.Conn, err error) {
	c.mu.Lock()
	part := c.next
	// Of less than four bytes it says nothing.
	if c.state != parkIdle || len(part) < 4 || err != io.EOF {
		c.mu.Unlock()
		c.shut()
		return
	}
	c.next, c.state = nil, parkServing
	c.mu.Unlock()
	c.h.work(func() { c.handBack(part) })
}
