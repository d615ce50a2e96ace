package poll

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/read"
)

// Parker is a hub that can hold polls without a goroutine each.
type Parker interface {
	PollOrPark(ctx context.Context, req hub.PollRequest, park func() (hub.Waiter, error)) (hub.PollResult, *hub.Subscriber, error)
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
	parkServing                  // a request; reading is paused
	parkClosed
)

// parked is a connection that was taken over from the HTTP server because its
// poll has to wait. Polls that follow on it are read here; any other request
// goes back to the HTTP server, with the connection.
type parked struct {
	conn.Polled
	h      *Handler     // set once
	server *http.Server // set once

	mu    sync.Mutex
	state parkState       // guarded by mu
	sub   *hub.Subscriber // guarded by mu; the poll that waits
	early int             // guarded by mu; bytes that came while it waited
	idle  *time.Timer     // guarded by mu

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
	var c *parked
	park := func() (hub.Waiter, error) {
		if again := answerOf(w); again != nil {
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
		var head bytes.Buffer
		w.Header().Write(&head)
		c.header, c.bare = head.Bytes(), q.Bare
		return c, nil
	}
	res, sub, err := p.parker.PollOrPark(r.Context(), req, park)
	if sub == nil {
		p.reply(w, r, q, &res, err)
		return
	}
	c.waits(sub)
}

func (p *Handler) newParked(r *http.Request, nc net.Conn) *parked {
	c := &parked{h: p, server: r.Context().Value(http.ServerContextKey).(*http.Server)}
	c.Init(nc, func() { p.forget(c) })
	c.Tune(p.o.Tuning)
	p.remember(c)
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
		c.idle = time.AfterFunc(idleTimeout, c.expire)
		if c.state != parkIdle {
			c.idle.Stop()
		}
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

// expire closes a connection on which no further poll came.
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
	c.mu.Lock()
	if c.state == parkClosed {
		c.mu.Unlock()
		return
	}
	c.sub = nil
	last := err != nil || res.Draining || c.early > 0 || c.h.closing.Load()
	if !last {
		// Before the answer is out: the next request may be here at once.
		c.state = parkIdle
	}
	c.mu.Unlock()
	buf := c.h.buffers.Get().(*[]byte)
	dst := (*buf)[:0]
	switch {
	case err == nil:
		dst = c.appendOK(dst, &res, last)
	case errors.Is(err, hub.ErrClosed):
		c.shut()
		return
	default:
		dst = c.appendError(dst, err)
	}
	n, err := c.TryWrite(dst)
	switch {
	case err != nil:
		c.shut()
	case n < len(dst):
		// The writer takes the buffer with it.
		c.h.running.Go(func() { c.writeOn(dst[n:], last) })
		return
	case last:
		c.leave()
	default:
		c.rest()
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
	if last {
		c.leave()
		return
	}
	c.rest()
}

// leave closes the connection behind its last answer.
func (c *parked) leave() {
	c.CloseWrite() // what the client has sent meanwhile must not make this a reset
	c.shut()
}

// rest bounds the wait for the next request, unless it is here.
func (c *parked) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == parkIdle && c.idle != nil {
		c.idle.Reset(idleTimeout)
	}
}

// Data implements poller.Handler.
func (c *parked) Data(_ *poller.Conn, b []byte) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case parkIdle:
		c.idle.Stop()
		c.state = parkServing
		request := bytes.Clone(b)
		c.h.running.Go(func() { c.serve(request) })
		return false
	case parkClosed:
		return false
	}
	c.early += len(b)
	return c.early <= maxEarly
}

// Closed implements poller.Handler.
func (c *parked) Closed(*poller.Conn, error) { c.shut() }

// serve serves the request that has come. Reading is paused.
func (c *parked) serve(request []byte) {
	r := c.parse(request)
	if r == nil {
		c.handBack(request)
		return
	}
	w := &answer{c: c, header: make(http.Header, 4), status: http.StatusOK}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				c.h.o.Logger.Error("panic in a handler", "panic", fmt.Sprint(p), "path", r.URL.Path, "stack", string(debug.Stack()))
			}
			c.shut()
		}
	}()
	c.server.Handler.ServeHTTP(w, r)
	if w.taken {
		c.Resume()
		return
	}
	dst := w.append(nil)
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.Write(dst); err != nil {
		c.shut()
		return
	}
	c.SetWriteDeadline(time.Time{})
	if c.h.closing.Load() || w.header.Get("Connection") == "close" {
		c.leave()
		return
	}
	c.mu.Lock()
	if c.state == parkServing {
		c.state = parkIdle
	}
	c.mu.Unlock()
	c.rest()
	c.Resume()
}

// refused are words in a request's head with which it is not one that is
// served here: it has a body, wants another protocol, another transport, or the
// end of the connection.
var refused = [][]byte{
	[]byte("\r\ncontent-length:"), []byte("\r\ntransfer-encoding:"), []byte("\r\nupgrade:"), []byte("\r\nexpect:"),
	[]byte("\r\nconnection: close"), []byte("\r\nsec-websocket-key:"), []byte("text/event-stream"), []byte("ndjson"),
}

// parse reads one whole plain GET of a room; nil for anything else.
func (c *parked) parse(request []byte) *http.Request {
	if !bytes.HasPrefix(request, []byte("GET /rooms/")) || !bytes.HasSuffix(request, []byte("\r\n\r\n")) ||
		bytes.Index(request, []byte("\r\n\r\n")) != len(request)-4 {
		return nil
	}
	lower := bytes.ToLower(request)
	for _, word := range refused {
		if bytes.Contains(lower, word) {
			return nil
		}
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(request), 512))
	if err != nil || !r.ProtoAtLeast(1, 1) || r.Host == "" || r.Close || !isPoll(r.URL.Path) {
		return nil // net/http knows what to answer
	}
	r.RemoteAddr = c.Conn().RemoteAddr().String()
	ctx := context.WithValue(context.Background(), http.ServerContextKey, c.server)
	return r.WithContext(context.WithValue(ctx, http.LocalAddrContextKey, c.Conn().LocalAddr()))
}

// isPoll reports the paths that may be a poll.
func isPoll(path string) bool {
	rooms, last, more := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(path, "/rooms/"), "/"), "/")
	return rooms != "" && (!more || last == "poll")
}

// handBack gives the connection to the HTTP server, as if it were new and had
// sent the request only now.
func (c *parked) handBack(request []byte) {
	c.mu.Lock()
	gone := c.state == parkClosed
	c.state = parkClosed
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	// A goroutine that reads would take a part of what comes.
	if gone || !c.h.o.Poller.Native(c.Conn()) || !c.Release() {
		c.Close()
		return
	}
	c.h.back(c.server).push(&prefixed{Conn: c.Conn(), prefix: request})
}

func (c *parked) appendOK(dst []byte, res *hub.PollResult, last bool) []byte {
	body := c.h.buffers.Get().(*[]byte)
	now := time.Now()
	*body = appendAnswer((*body)[:0], res, c.bare, now.UnixMilli())
	dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store, no-transform\r\n"...)
	if last {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, c.header...)
	dst = append(dst, "Date: "...)
	dst = now.UTC().AppendFormat(dst, http.TimeFormat)
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(*body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, *body...)
	if cap(*body) <= maxPooled {
		c.h.buffers.Put(body)
	}
	return dst
}

func (c *parked) appendError(dst []byte, err error) []byte {
	e := codes.From(err)
	if e.Faulty() {
		c.h.o.Logger.LogAttrs(context.Background(), slog.LevelWarn, "poll failed", slog.String("code", string(e.Code)), slog.Any("error", err))
	}
	w := &answer{header: make(http.Header, 4)}
	e.WriteHTTP(w)
	w.header.Set("Connection", "close")
	w.extra = c.header
	return w.append(dst)
}
