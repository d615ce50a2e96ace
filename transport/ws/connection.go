package ws

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// connection is one WebSocket. Its goroutine, or the poller, reads, and
// commands are carried out one after the other: a client that sends faster
// than its replies are taken is read no faster.
type connection struct {
	h     *Handler
	ws    *websocket.Conn
	guard *guard
	nc    *conn.Net
	sub   *hub.Subscriber
	form  int    // one of the plain ones, whatever was agreed on
	room  string // of a bare connection, which has one

	deflate bool // permessage-deflate was agreed on

	answered time.Time // when a page's heartbeat was last answered
}

func (c *connection) run(q read.Request) {
	c.nc = conn.New(c.guard.Conn)
	c.nc.Tune(c.h.o.Tuning)
	sub, err := c.h.o.Hub.NewSubscriber(c.subscriber(c.nc, q, nil))
	if err != nil {
		refuse(c.nc, c.bare(), codes.From(err))
		return
	}
	c.sub = sub
	if e := c.start(q); e != nil {
		c.reject(e)
	} else {
		sub.Start()
		c.read(heartbeat(q.Heartbeat, c.h.o.Heartbeat))
	}
	// Whatever ended it has been said to the subscriber: what the client still
	// sends is dropped until it closes as well, or the subscriber does.
	c.nc.Drain()
	<-sub.Done()
	c.nc.Close()
}

func (c *connection) subscriber(nc hub.Conn, q read.Request, turn func(time.Time)) hub.SubscriberOptions {
	form := c.form
	if c.deflate {
		form = wire.Deflated(form)
	}
	return hub.SubscriberOptions{
		Conn: nc, Form: form, Transport: "ws", Client: q.Client, Heartbeat: q.Heartbeat, EndOnGap: c.bare(), Turn: turn,
	}
}

// reject tells why the connection could not start, and ends it.
func (c *connection) reject(e *codes.Error) {
	c.fault(e, nil)
	if !c.bare() {
		c.send(wire.AppendError(nil, e))
	}
	c.end(e)
}

func heartbeat(own, general time.Duration) time.Duration {
	if own > 0 {
		return own
	}
	return general
}

// bare reports a connection of nothing but data.
func (c *connection) bare() bool { return c.form != wire.FormWS }

// start joins the rooms and greets.
func (c *connection) start(q read.Request) *codes.Error {
	ctx, cancel := context.WithTimeout(context.Background(), c.h.o.CommandTimeout)
	defer cancel()
	err := c.sub.SubscribeThen(ctx, q.Subscriptions, func(cursor hub.Cursor) []byte {
		return wire.AppendFirst(nil, c.form, &wire.Hello{
			Server: c.h.o.Server, Node: c.h.o.Hub.NodeID(), Client: q.Client, Rooms: q.Rooms, Cursor: cursor,
			Heartbeat: heartbeat(q.Heartbeat, c.h.o.Heartbeat), Time: time.Now().UnixMilli(),
		}, 0)
	})
	return codes.From(err)
}

// messages are buffers in which messages are put together as they arrive.
var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer that is kept for the next message.
const maxPooled = 64 << 10

// read serves the client's frames until one side ends the connection.
func (c *connection) read(heartbeat time.Duration) {
	// A little more than a heartbeat, so that the pong to the ping in it
	// comes first.
	c.guard.interval = heartbeat + heartbeat/4
	c.guard.ask = func() { c.sendFrame(wire.AppendWSPing(nil)) }
	c.ws.SetReadLimit(int64(c.h.o.MaxFrame))
	c.ws.SetPingHandler(func(text string) error { return c.sendFrame(wire.AppendWSPong(nil, text)) })
	c.ws.SetPongHandler(func(string) error { return nil })
	c.ws.SetCloseHandler(func(code int, _ string) error {
		if code == websocket.CloseNoStatusReceived {
			code = 0
		}
		return c.sendFrame(wire.AppendWSClose(nil, code, ""))
	})
	for c.readOne() {
	}
}

// readOne reads one message and does what it says; false ends the reading.
func (c *connection) readOne() bool {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		c.readFailed(err)
		return false
	}
	if kind == websocket.BinaryMessage {
		c.end(codes.New(codes.BinaryFrame, "binary frames mean nothing here"))
		return false
	}
	buf := messages.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			messages.Put(buf)
		}
	}()
	buf.Reset()
	c.guard.until = time.Now().Add(c.h.o.FrameTimeout)
	if c.deflate {
		// gorilla's limit is on what comes; this is on what it says.
		r = io.LimitReader(r, int64(c.h.o.MaxFrame)+1)
	}
	_, err = buf.ReadFrom(r)
	if err == nil && buf.Len() > c.h.o.MaxFrame {
		err = websocket.ErrReadLimit
	}
	if err != nil {
		c.readFailed(err)
		return false
	}
	c.guard.until = time.Time{}
	return c.text(buf.Bytes())
}

// text does what a message says; false ends the reading.
func (c *connection) text(text []byte) bool {
	if c.bare() {
		return c.page(text)
	}
	return c.command(text)
}

// readFailed ends the connection for the reason for which reading ended.
func (c *connection) readFailed(err error) {
	var closed *websocket.CloseError
	switch failed := c.guard.failed; {
	case errors.Is(failed, errSilent):
		c.end(codes.New(codes.Silent, "nothing came from the client for three heartbeats"))
	case errors.Is(failed, errLate):
		c.end(codes.New(codes.RequestTimeout, "the message did not arrive in time"))
	case failed != nil:
		c.sub.End(hub.End{}) // The connection is broken.
	case errors.Is(err, websocket.ErrReadLimit):
		c.end(codes.Newf(codes.FrameTooLarge, "a message is over %d bytes", c.h.o.MaxFrame))
	case errors.As(err, &closed):
		// Answered by the close handler.
		c.sub.End(hub.End{Code: wire.EndClosed})
	case errors.Is(err, hub.ErrClosed):
		// The subscriber had ended while a control frame was answered.
	default:
		c.end(codes.New(codes.BadFrame, err.Error()))
	}
}

// end ends the connection with an error as its reason.
func (c *connection) end(e *codes.Error) {
	c.sub.End(hub.End{Code: string(e.Code), Message: e.Message, After: e.RetryAfter})
}

// sendFrame queues a private frame. It waits while the client does not take
// what is queued; the hub's write time-out bounds that.
func (c *connection) sendFrame(frame []byte) error {
	return c.sub.Send(context.Background(), frame)
}

// send queues an envelope, and reports whether the connection lives.
func (c *connection) send(envelope []byte) bool {
	return c.sendFrame(wire.WrapWSText(envelope, 0)) == nil
}

// fault logs an error that is the server's own doing.
func (c *connection) fault(e *codes.Error, err error) {
	if e.Faulty() {
		c.h.o.Logger.Warn("websocket command failed", "code", e.Code, "message", e.Message, "err", err)
	}
}

// refuse tells an error to a connection without a subscriber, and closes it.
func refuse(nc *conn.Net, bare bool, e *codes.Error) {
	defer nc.Close()
	stop := time.AfterFunc(endTimeout, func() { nc.Close() })
	defer stop.Stop()
	var frames []byte
	if !bare {
		frames = wire.WrapWSText(wire.AppendError(frames, e), 0)
	}
	frames = wire.AppendWSClose(frames, e.CloseCode(), e.Error())
	if _, err := nc.Write(frames); err == nil && nc.CloseWrite() == nil {
		nc.Drain()
	}
}
