package poll

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// answer is the ResponseWriter of a request that is served on a parked
// connection. It collects a whole answer: nothing else is served there.
type answer struct {
	c      *parked
	header http.Header
	extra  []byte // further header lines
	status int
	body   []byte
	taken  bool   // the poll waits: the answer comes later
	last   bool   // the connection ends behind it
	decide string // the head of a plain request, to be remembered if it comes to Serve
}

// answerOf finds the answer under the writers around it, nil if there is none.
func answerOf(w http.ResponseWriter) *answer {
	for {
		switch v := w.(type) {
		case *answer:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if status >= 200 {
		w.status = status
	}
}

func (w *answer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

// take leaves the connection to a poll that waits.
func (w *answer) take() *parked {
	w.taken = true
	w.c.mu.Lock()
	if w.c.state == parkServing {
		w.c.state = parkWaiting
	}
	w.c.mu.Unlock()
	return w.c
}

// append appends the answer as it goes out, which is as the HTTP server writes
// it.
func (w *answer) append(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(w.status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(w.status)...)
	dst = append(dst, "\r\n"...)
	head := bytes.NewBuffer(dst)
	w.header.Write(head)
	dst = append(head.Bytes(), w.extra...)
	dst = time.Now().UTC().AppendFormat(append(dst, "Date: "...), http.TimeFormat)
	dst = append(dst, "\r\n"...)
	if w.header.Get("Content-Length") == "" {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(w.body)), 10)
		dst = append(dst, "\r\n"...)
	}
	if w.last {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	return append(dst, w.body...)
}

// whole is an answer as it goes out to all whose heads have the same lines. It
// is not changed any more.
type whole struct {
	lines []byte // besides the answer's own
	bytes []byte
	body  []byte // of bytes
}

// ok is the answer to a poll that was parked. Where many get the same it is made
// once for all; else it is put together in the buffer of buf, which is nil
// as long as there is none.
func (c *parked) ok(buf **[]byte, res *hub.PollResult, last bool) []byte {
	now := time.Now()
	same := res.Same
	if same == nil {
		pooled := c.h.buffers.Get().(*[]byte)
		body := appendAnswer((*pooled)[:0], res, c.bare, now.UnixMilli())
		dst := c.appendOK(c.buffer(buf), body, last, now)
		if cap(body) <= maxPooled {
			*pooled = body
			c.h.buffers.Put(pooled)
		}
		return dst
	}
	kept, _ := same.Answer.Load().(*whole)
	if kept == nil {
		body := appendAnswer(nil, res, c.bare, now.UnixMilli())
		all := c.appendOK(make([]byte, 0, len(body)+len(c.header)+256), body, false, now)
		kept = &whole{lines: c.header, bytes: all, body: all[len(all)-len(body):]}
		same.Answer.Store(kept)
	}
	if !last && bytes.Equal(kept.lines, c.header) {
		return kept.bytes
	}
	return c.appendOK(c.buffer(buf), kept.body, last, now)
}

// buffer takes a buffer for an answer.
func (c *parked) buffer(buf **[]byte) []byte {
	*buf = c.h.buffers.Get().(*[]byte)
	return (**buf)[:0]
}

// appendOK appends an answer with its head.
func (c *parked) appendOK(dst, body []byte, last bool, now time.Time) []byte {
	dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store, no-transform\r\n"...)
	if last {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, c.header...)
	dst = append(dst, c.h.dateLine(now)...)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
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

// dateLine is the header line of one second.
type dateLine struct {
	second int64
	line   []byte
}

func (p *Handler) dateLine(now time.Time) []byte {
	second := now.Unix()
	d := p.date.Load()
	if d == nil || d.second != second {
		d = &dateLine{second: second, line: append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)}
		p.date.Store(d)
	}
	return d.line
}

// prefixed is a connection of which something has been read already.
type prefixed struct {
	net.Conn
	prefix []byte
	need   int16 // publishes before it is taken over again
}

func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.prefix) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.prefix)
	c.prefix = c.prefix[n:]
	return n, nil
}

// Bare is for connections that were taken from the HTTP server: one that had been
// given back to it is the network connection again that it was, if nothing more
// has to be read before what comes on that. All that is done with a connection
// besides reading and writing needs to know what it is.
func Bare(nc net.Conn) net.Conn {
	if c, ok := nc.(*prefixed); ok && len(c.prefix) == 0 {
		return c.Conn
	}
	return nc
}

// listener hands connections back to an HTTP server.
type listener struct {
	server *http.Server
	heads  heads // of requests that the server's handler has seen
	conns  chan net.Conn
	once   sync.Once
	done   chan struct{}

	returning *atomic.Int64 // those that the HTTP server does not count yet; set once
	uncounted bool          // the last one is among them; owned by who calls Accept
}

func newListener(server *http.Server, returning *atomic.Int64) *listener {
	return &listener{server: server, conns: make(chan net.Conn), done: make(chan struct{}), returning: returning}
}

func (l *listener) push(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		c.Close()
		l.returning.Add(-1)
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if l.uncounted { // until now
		l.uncounted = false
		l.returning.Add(-1)
	}
	select {
	case c := <-l.conns:
		l.uncounted = true
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
