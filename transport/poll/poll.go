// Package poll answers long-polls (PROTOCOL.md, section 9): one complete
// answer to one request, so that every proxy passes it on.
//
// A connection whose poll waits, or that publishes again and again, is taken
// over from the HTTP server, and its next polls and publishes are read and
// answered here, to the byte as that would. Whatever else comes on it, or is
// not known to be read alike by everybody, goes back to the HTTP server together
// with the connection.
package poll

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// Hub is the part of a hub that answers polls.
type Hub interface {
	Poll(ctx context.Context, r hub.PollRequest) (hub.PollResult, error)
}

// Options configure a Handler. Zero fields have the defaults.
type Options struct {
	// Bytes bounds the messages of one answer: 256 KiB. The first message is
	// in it in any case.
	Bytes int
	// Logger hears of faults. Default: discard.
	Logger *slog.Logger
	// Poller waits for the clients of polls that wait. Nil: each has a
	// goroutine, and no connection is taken over.
	Poller *poller.Poller
	// Tuning bounds what a connection holds in the kernel.
	Tuning conn.Tuning
	// Reading are the limits with which requests are parsed before they come
	// to Serve. Polls that follow on a connection that was taken over may be
	// parsed and answered here without the HTTP server's handler: those alike
	// (in path and header lines, but for what the handler does not look at; with
	// parameters of read.Plain) to one that it has let come to Serve, and only
	// while Logger does not want to hear of every request.
	Reading read.Limits
	// Publisher, where there is one, publishes: connections that come with
	// publishes again and again are taken over too, where the HTTP server has
	// ConnContext, and publishes on any that was taken over are carried out
	// here, under the same conditions as polls are answered.
	Publisher Publisher
}

// Handler answers long-polls. Between two polls it knows nothing of a client:
// the cursor that the client sends back is the acknowledgement.
type Handler struct {
	hub     Hub
	parker  Parker // nil: every poll that waits has its handler wait
	o       Options
	buffers sync.Pool // of *[]byte
	asked   asked

	running sync.WaitGroup // what goes on, and one more until Close
	serving serving        // of what goes on, what has to be answered
	// returning are the connections that the HTTP server is being given back, and
	// does not count yet.
	returning atomic.Int64
	served    func() // takes one off serving, made once
	closed    sync.Once
	closing   atomic.Bool
	date      atomic.Pointer[dateLine]

	headTimeout, bodyTimeout, writeTimeout, answerTimeout time.Duration // set once

	mu sync.Mutex
	// guarded by mu
	parked     map[*parked]struct{}
	listeners  map[*http.Server]*listener
	publishers []*publishers // of connections that publish
	turn       int           // whose turn it is
}

// maxPooled is the largest buffer that is kept for the next answer.
const maxPooled = 64 << 10

// New makes a Handler for a hub that has the framings of wire.Framings. Where
// the hub is a Parker and there is a Poller, polls that wait have their
// connections taken over.
func New(h Hub, o Options) *Handler {
	if o.Bytes == 0 {
		o.Bytes = 256 << 10
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Handler{hub: h, o: o, parked: make(map[*parked]struct{}), listeners: make(map[*http.Server]*listener)}
	p.parker, _ = h.(Parker)
	p.headTimeout, p.bodyTimeout, p.writeTimeout, p.answerTimeout = headTimeout, bodyTimeout, writeTimeout, answerTimeout
	p.served = func() { p.serving.add(-1) }
	p.buffers.New = func() any { return new([]byte) }
	p.running.Add(1)
	return p
}

// Serve answers one poll. It returns when there is something, the wait is over
// or the client is gone, or at once where the connection is taken over.
func (p *Handler) Serve(w http.ResponseWriter, r *http.Request, q read.Request) {
	if p.canPark(r) {
		p.servePark(w, r, q)
		return
	}
	res, err := p.hub.Poll(r.Context(), p.request(q))
	p.reply(w, r, q, &res, err)
}

func (p *Handler) request(q read.Request) hub.PollRequest {
	req := hub.PollRequest{
		Subscriptions: q.Subscriptions, Form: wire.FormPoll,
		Wait: q.Wait, Limit: q.Limit, Bytes: p.o.Bytes,
	}
	if q.Bare {
		req.Form = wire.FormPollBare
	}
	if q.ClientGiven {
		req.Client = q.Client
	}
	return req
}

func (p *Handler) reply(w http.ResponseWriter, r *http.Request, q read.Request, res *hub.PollResult, err error) {
	if err != nil {
		if r.Context().Err() != nil {
			// Nobody is left to answer, unless it is a client that has closed its
			// side only. An empty answer would be a wrong one.
			panic(http.ErrAbortHandler)
		}
		e := codes.From(err)
		if e.Faulty() {
			p.o.Logger.Warn("poll failed", "code", e.Code, "rooms", q.Rooms, "error", err)
		}
		e.WriteHTTP(w)
		return
	}
	buf := p.buffers.Get().(*[]byte)
	body := appendAnswer((*buf)[:0], res, q.Bare, time.Now().UnixMilli())
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// Caches are told by every means: a stored answer would be repeated.
	h.Set("Cache-Control", "no-store, no-transform")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // A client that is gone asks again with its old cursor.
	if cap(body) <= maxPooled {
		*buf = body
		p.buffers.Put(buf)
	}
}

// Parked is the number of connections that were taken over and still live.
func (p *Handler) Parked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.parked) + int(p.returning.Load())
}

// remember notes a connection, and the way back to its HTTP server.
func (p *Handler) remember(c *parked, server *http.Server) {
	p.running.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked[c] = struct{}{}
	c.back = p.listen(server)
}

func (p *Handler) forget(c *parked) {
	p.mu.Lock()
	delete(p.parked, c)
	p.mu.Unlock()
	p.running.Done()
}

// listen makes the way back to an HTTP server, with p.mu held.
func (p *Handler) listen(server *http.Server) *listener {
	l := p.listeners[server]
	if l == nil {
		l = newListener(server, &p.returning)
		p.listeners[server] = l
		server.RegisterOnShutdown(p.closeIdle)
		p.running.Go(func() {
			server.Serve(l) // until the server ends, which closes l
			l.Close()
		})
	}
	return l
}

// closeIdle closes the connections on which no poll waits; the others are
// closed behind their answer.
func (p *Handler) closeIdle() {
	p.closing.Store(true)
	p.mu.Lock()
	all := make([]*parked, 0, len(p.parked))
	for c := range p.parked {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.expire()
	}
}

// Close closes what is left, after the hub and the HTTP server have been closed,
// and waits until nothing runs any more.
func (p *Handler) Close() {
	p.closing.Store(true)
	p.mu.Lock()
	all := make([]*parked, 0, len(p.parked))
	for c := range p.parked {
		all = append(all, c)
	}
	listeners := p.listeners
	p.mu.Unlock()
	for _, c := range all {
		c.shut()
	}
	for _, l := range listeners {
		l.Close()
	}
	p.closed.Do(p.running.Done)
	p.running.Wait()
	p.mu.Lock()
	publishers := p.publishers
	p.mu.Unlock()
	for _, pl := range publishers {
		pl.Close()
	}
}

// appendAnswer appends the body of an answer. In the bare form the messages are
// their data alone, and gaps have a list of their own.
func appendAnswer(dst []byte, res *hub.PollResult, bare bool, now int64) []byte {
	dst = append(dst, `{"protocol":`...)
	dst = strconv.AppendInt(dst, wire.Protocol, 10)
	dst = append(dst, `,"messages":[`...)
	for i, frame := range res.Frames {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, frame...)
	}
	dst = append(dst, ']')
	if bare && len(res.Gaps) > 0 {
		dst = append(dst, `,"gaps":[`...)
		for i, g := range res.Gaps {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = wire.AppendGap(dst, g, now)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"cursor":"`...)
	start := len(dst)
	dst = res.Cursor.Append(dst)
	cursor := dst[start:]
	dst = append(dst, '"')
	if res.Draining {
		dst = append(dst, `,"bye":`...)
		dst = wire.AppendBye(dst, hub.End{Code: hub.EndDraining, Message: "this node is shutting down", After: res.After}, cursor)
	}
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, now, 10)
	return append(dst, '}', '\n')
}
