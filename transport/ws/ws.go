// Package ws serves the WebSocket transport (PROTOCOL.md, sections 6 and 13).
//
// The handshake and the reading are gorilla's. Everything that is written
// after the handshake goes through the connection's hub.Subscriber, so that
// nothing ever lands inside a frame: gorilla itself is given a connection that
// refuses its writes.
package ws

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// Options configure a Handler. Zero fields but Hub have the defaults.
type Options struct {
	// Hub delivers; required. Its framings are wire.Framings.
	Hub *hub.Hub
	// Server names the program and its version in hello.
	Server string
	// Logger hears of the server's own faults. Default: discard.
	Logger *slog.Logger
	// Heartbeat is the hub's: 15 s. Three of them without a byte from the
	// client end the connection.
	Heartbeat time.Duration
	// Publish bounds what is published.
	Publish publish.Limits
	// Rooms is the most rooms of one connection, the hub's: 100.
	Rooms int
	// MaxFrame is the longest message of a client in bytes: 1 MiB.
	MaxFrame int
	// FrameTimeout is how long one message may take to arrive: 60 s.
	FrameTimeout time.Duration
	// CommandTimeout bounds what a command does: 15 s.
	CommandTimeout time.Duration
	// PageHeartbeat is the text that ServeBare's pages send to show that they
	// live, and are answered with; "" for none. It is wire.Options' too.
	PageHeartbeat string
	// Poller reads the connections that it can read without a goroutine each.
	// Nil: every connection has one.
	Poller *poller.Poller
	// Tuning bounds what a connection holds in the kernel.
	Tuning conn.Tuning
	// Deflate agrees to permessage-deflate where a client offers it. What is
	// compressed then is wire.Options' to say; what a client sends compressed
	// may have MaxFrame bytes afterwards.
	Deflate bool
}

// endTimeout bounds the last words to a connection that no subscriber was made
// for.
const endTimeout = 2 * time.Second

// handshakeTimeout bounds the writing of the answer to the handshake.
const handshakeTimeout = 10 * time.Second

// Handler serves WebSockets.
type Handler struct {
	o         Options
	upgrader  websocket.Upgrader
	deflating websocket.Upgrader // the same, with compression
	running   sync.WaitGroup     // the connections, and one more until Wait
	left      func()             // a connection's Done of it, made once
	waited    sync.Once
}

// New makes a handler.
func New(o Options) *Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Server == "" {
		o.Server = "culvert"
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Rooms <= 0 {
		o.Rooms = 100
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = 1 << 20
	}
	if o.FrameTimeout <= 0 {
		o.FrameTimeout = time.Minute
	}
	if o.CommandTimeout <= 0 {
		o.CommandTimeout = 15 * time.Second
	}
	o.Publish = o.Publish.WithDefaults()
	h := &Handler{o: o, upgrader: websocket.Upgrader{
		HandshakeTimeout: handshakeTimeout,
		ReadBufferSize:   512,
		// Nothing is ever written through gorilla but the handshake, which
		// uses the HTTP server's buffer; the pool keeps it from making one.
		WriteBufferSize: 512,
		WriteBufferPool: new(sync.Pool),
		CheckOrigin:     func(*http.Request) bool { return true }, // decided before
		Error: func(w http.ResponseWriter, _ *http.Request, _ int, reason error) {
			w.Header().Set("Sec-WebSocket-Version", "13") // what a client of another version is to come back with
			codes.New(codes.BadUpgrade, reason.Error()).WriteHTTP(w)
		},
	}}
	h.deflating = h.upgrader
	h.deflating.EnableCompression = true
	h.running.Add(1)
	h.left = h.running.Done
	return h
}

// Wait returns when no connection is left. The hub ends them.
func (h *Handler) Wait() {
	h.waited.Do(h.running.Done)
	h.running.Wait()
}

// Serve upgrades the request and serves the connection. It returns after the
// handshake; a refusal by the hub is told on the WebSocket.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, q read.Request) {
	form := wire.FormWS
	if q.Bare {
		form = wire.FormWSBare
	}
	h.serve(w, r, q, form)
}

// place fixes where a reader that starts now begins, before its handshake is
// answered. A bare connection has no hello to say from when on it reads, so
// what is published once it is open must reach it. The poll's cursor has
// marks: ephemeral messages are not missed either.
func (h *Handler) place(q *read.Request) *codes.Error {
	if q.Subscriptions[0].Start.Kind != hub.StartNow {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.o.CommandTimeout)
	defer cancel()
	res, err := h.o.Hub.Poll(ctx, hub.PollRequest{Subscriptions: q.Subscriptions, Form: wire.FormPoll})
	if err != nil {
		return codes.From(err)
	}
	if len(res.Cursor) == 1 {
		start := hub.Start{Kind: hub.StartAfter, At: res.Cursor[0]}
		q.Subscriptions = []hub.Subscription{{Room: q.Subscriptions[0].Room, Start: start, Presence: q.Subscriptions[0].Presence}}
	}
	return nil
}

// ServeBare serves a page that knows nothing of Culvert, at a path of its own
// choice: the bare form, from now on, with Options.PageHeartbeat.
func (h *Handler) ServeBare(w http.ResponseWriter, r *http.Request, room string) {
	if err := hub.ValidateRoom(room); err != nil {
		h.refuse(w, r, true, codes.From(err))
		return
	}
	h.serve(w, r, read.Request{
		Rooms: []string{room}, Subscriptions: []hub.Subscription{{Room: room}}, Bare: true, Client: hub.NewMessageID(),
	}, wire.FormWSPage)
}

// Refuse upgrades the request, tells the error and closes: browsers show a
// page nothing of a refused upgrade.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, e *codes.Error) {
	h.refuse(w, r, r.URL.Query().Get("format") == "bare", e)
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, bare bool, e *codes.Error) {
	h.running.Add(1) // as serve does
	defer h.running.Done()
	_, g, ok := h.upgrade(w, r, false)
	if !ok {
		return
	}
	h.running.Go(func() { refuse(conn.New(g.Conn), bare, e) })
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, q read.Request, form int) {
	if form != wire.FormWS {
		if e := h.place(&q); e != nil {
			h.refuse(w, r, true, e)
			return
		}
	}
	// Before the connection is the handler's own: from then on the HTTP server
	// does not wait for it, so Wait has to.
	h.running.Add(1)
	defer h.running.Done()
	deflate := h.o.Deflate && offersDeflate(r)
	ws, g, ok := h.upgrade(w, r, deflate)
	if !ok {
		return
	}
	c := &connection{h: h, ws: ws, guard: g, form: form, deflate: deflate}
	if form != wire.FormWS {
		c.room = strings.Clone(q.Rooms[0]) // else the whole request's URL would live on
	}
	if pl := h.o.Poller; pl != nil && pl.Native(g.Conn) {
		c.runPolled(q, pl)
		return
	}
	// A fresh goroutine, so that the request and the HTTP server's buffers go.
	h.running.Go(func() { c.run(q) })
}
