package ws

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// polled reads a connection that has no goroutine of its own: the poller hands
// over what arrives. Control frames are answered on the spot; a message is
// carried out by a goroutine that lasts as long as that, while the poller
// leaves the connection alone.
type polled struct {
	conn.Polled
	c         *connection   // set once
	heartbeat time.Duration // set once

	// seen is when the peer last showed a sign of life, since when a message
	// has been under way, or 0, both in Unix milliseconds.
	seen  atomic.Int64
	since atomic.Int64

	// owned by the poller's calls, and by work while they pause
	frames  frames
	dropped bool // the end was said: what still comes is dropped
}

// runPolled serves the connection without staying.
func (c *connection) runPolled(q read.Request, pl *poller.Poller) {
	p := &polled{c: c, heartbeat: heartbeat(q.Heartbeat, c.h.o.Heartbeat)}
	c.h.running.Add(1)
	p.Init(conn.Lighten(c.guard.Conn), c.h.left)
	p.Tune(c.h.o.Tuning)
	p.seen.Store(time.Now().UnixMilli())
	p.frames.deflate = c.deflate
	c.ws, c.guard, c.nc = nil, nil, &p.Net // gorilla's part is over
	sub, err := c.h.o.Hub.NewSubscriber(c.subscriber(p, q, p.turn))
	if err != nil {
		refuse(c.nc, c.bare(), codes.From(err))
		p.Close()
		return
	}
	c.sub = sub
	if e := c.start(q); e != nil {
		c.reject(e)
		p.dropped = true
	} else {
		sub.Start()
	}
	if p.Poll(pl, p) != nil {
		sub.End(hub.End{})
	}
}

// Data implements poller.Handler.
func (p *polled) Data(reg *poller.Conn, b []byte) (more bool) {
	p.seen.Store(time.Now().UnixMilli())
	for len(b) > 0 && !p.dropped {
		n, ev, err := p.frames.next(b, p.c.h.o.MaxFrame)
		b = b[n:]
		switch {
		case err != nil:
			p.failed(err)
		case ev.kind == opText || ev.kind == opBinary:
			rest := append([]byte(nil), b...)
			p.c.h.running.Go(func() { p.work(reg, ev, rest) })
			return false
		case ev.kind != 0:
			p.control(ev)
		}
	}
	p.note()
	return true
}

// work carries out a message, and what came behind it in the same piece.
func (p *polled) work(reg *poller.Conn, ev frameEvent, rest []byte) {
	p.message(ev)
	for len(rest) > 0 && !p.dropped {
		n, ev, err := p.frames.next(rest, p.c.h.o.MaxFrame)
		rest = rest[n:]
		switch {
		case err != nil:
			p.failed(err)
		case ev.kind == opText || ev.kind == opBinary:
			p.message(ev)
		case ev.kind != 0:
			p.control(ev)
		}
	}
	p.note()
	reg.Resume()
}

// note keeps since when a message has been under way.
func (p *polled) note() {
	switch {
	case p.frames.idle():
		p.since.Store(0)
	case p.since.Load() == 0:
		p.since.Store(time.Now().UnixMilli())
	}
}

func (p *polled) message(ev frameEvent) {
	p.since.Store(0)
	switch {
	case ev.kind == opBinary:
		p.c.end(codes.New(codes.BinaryFrame, "binary frames mean nothing here"))
		p.dropped = true
	default:
		text := ev.payload
		if ev.packed {
			var err error
			if text, err = inflate(text, p.c.h.o.MaxFrame); err != nil {
				p.failed(err)
				return
			}
		}
		p.dropped = !p.c.text(text)
	}
}

func (p *polled) control(ev frameEvent) {
	switch ev.kind {
	case opPing:
		// A peer that pings and does not read has enough unanswered already.
		p.c.sub.TrySend(wire.AppendWSPong(nil, string(ev.payload)))
	case opClose:
		code, err := closeCode(ev.payload)
		if err != nil {
			p.failed(err)
			return
		}
		p.c.sub.TrySend(wire.AppendWSClose(nil, code, ""))
		p.c.sub.End(hub.End{Code: wire.EndClosed})
		p.dropped = true
	}
}

func (p *polled) failed(err error) {
	p.dropped = true
	if errors.Is(err, errFrameLimit) {
		p.c.end(codes.Newf(codes.FrameTooLarge, "a message is over %d bytes", p.c.h.o.MaxFrame))
		return
	}
	p.c.end(codes.New(codes.BadFrame, err.Error()))
}

// Closed implements poller.Handler.
func (p *polled) Closed(_ *poller.Conn, err error) {
	if !errors.Is(err, io.EOF) || !p.dropped {
		p.c.sub.End(hub.End{}) // The peer has gone without a word.
	}
	p.Close()
}

// turn is called about once in a heartbeat's time.
func (p *polled) turn(now time.Time) {
	ms := now.UnixMilli()
	silent := time.Duration(ms-p.seen.Load()) * time.Millisecond
	since := p.since.Load()
	switch {
	case since != 0 && time.Duration(ms-since)*time.Millisecond > p.c.h.o.FrameTimeout:
		p.c.end(codes.New(codes.RequestTimeout, "the message did not arrive in time"))
	case silent > silences*p.heartbeat+p.heartbeat/2:
		p.c.end(codes.New(codes.Silent, "nothing came from the client for three heartbeats"))
	case silent > p.heartbeat:
		p.c.sub.TrySend(wire.AppendWSPing(nil))
	}
}
