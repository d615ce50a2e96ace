// Package stream serves the transports that are one endless HTTP answer:
// server-sent events and NDJSON (PROTOCOL.md, sections 7, 8 and 13).
//
// Over HTTP/1 the connection is taken from net/http after the request: the
// head of the answer is the first thing that the subscriber writes, and the
// handler returns, so that an open stream costs no handler, no buffers and no
// request. Elsewhere (HTTP/2, a foreign ResponseWriter) the handler stays, and
// the subscriber writes through it.
package stream

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
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

// Options configure a Handler. Zero fields but Hub have the defaults.
type Options struct {
	// Hub delivers; required. Its framings are wire.Framings.
	Hub *hub.Hub
	// Server names the program and its version in hello.
	Server string
	// Logger hears of the server's own faults. Default: discard.
	Logger *slog.Logger
	// Heartbeat is the hub's: 15 s.
	Heartbeat time.Duration
	// SubscribeTimeout bounds what the store may take at the start: 5 s.
	SubscribeTimeout time.Duration
	// Poller waits for the clients of connections that it can read without a
	// goroutine each. Nil: every connection has one.
	Poller *poller.Poller
	// Tuning bounds what a connection holds in the kernel.
	Tuning conn.Tuning
}

// Handler serves streams.
type Handler struct {
	o       Options
	running sync.WaitGroup // the connections, and one more until Wait
	left    func()         // a connection's Done of it, made once
	waited  sync.Once
	staying atomic.Int64
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
	if o.SubscribeTimeout <= 0 {
		o.SubscribeTimeout = 5 * time.Second
	}
	h := &Handler{o: o}
	h.running.Add(1)
	h.left = h.running.Done
	return h
}

// Wait returns when no connection that was taken over is left. The hub ends
// them.
func (h *Handler) Wait() {
	h.waited.Do(h.running.Done)
	h.running.Wait()
}

// Staying is the number of streams that are served through a connection of
// net/http, which may carry many of them.
func (h *Handler) Staying() int { return int(h.staying.Load()) }

// kind is what differs between the two transports.
type kind struct {
	name      string // in Stats
	mediaType string
	// The forms: chunked and plain, each enveloped and bare.
	chunked, plain [2]int
}

// SSE serves server-sent events.
func (h *Handler) SSE(w http.ResponseWriter, r *http.Request, q read.Request) {
	h.serve(w, r, q, &kind{
		name: "sse", mediaType: "text/event-stream",
		chunked: [2]int{wire.FormSSE, wire.FormSSEBare}, plain: [2]int{wire.FormSSEPlain, wire.FormSSEBarePlain},
	})
}

// NDJSON serves one JSON value a line.
func (h *Handler) NDJSON(w http.ResponseWriter, r *http.Request, q read.Request) {
	h.serve(w, r, q, &kind{
		name: "ndjson", mediaType: "application/x-ndjson",
		chunked: [2]int{wire.FormNDJSON, wire.FormNDJSONBare}, plain: [2]int{wire.FormNDJSONPlain, wire.FormNDJSONBarePlain},
	})
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, q read.Request, k *kind) {
	bare := 0
	if q.Bare {
		bare = 1
	}
	setHeaders(w.Header(), r, k.mediaType)
	if _, ok := w.(http.Hijacker); ok && r.ProtoMajor == 1 {
		form := k.chunked[bare]
		if !r.ProtoAtLeast(1, 1) {
			form = k.plain[bare] // No chunks: the end of the connection is the end.
		}
		h.takeOver(w, r, q, k, form)
		return
	}
	h.stay(w, r, q, k, k.plain[bare])
}

// setHeaders says everything that keeps what lies between from holding the
// stream back: buffering, compressing, caching, and browsers that wait for
// enough bytes to guess the type.
func setHeaders(h http.Header, r *http.Request, mediaType string) {
	if wantsText(r, mediaType) {
		mediaType = "text/plain; charset=utf-8"
	}
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("Content-Encoding", "identity")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
}

// wantsText reports whether Accept names text/plain and not the stream's own
// type.
func wantsText(r *http.Request, mediaType string) bool {
	text := false
	for _, accept := range r.Header["Accept"] {
		for element := range strings.SplitSeq(accept, ",") {
			switch read.MediaType(element) {
			case mediaType:
				return false
			case "text/plain":
				text = true
			}
		}
	}
	return text
}

// subscribe makes the subscriber, whose first words are head and hello. It is
// not started yet. Where that fails the request has been answered.
func (h *Handler) subscribe(w http.ResponseWriter, r *http.Request, q read.Request, k *kind, form int, g *gate, head []byte) (*hub.Subscriber, bool) {
	refuse := func(err error) {
		e := codes.From(err)
		if e.Faulty() {
			h.o.Logger.Warn("stream not started", "transport", k.name, "code", e.Code, "err", err)
		}
		for _, name := range []string{"Content-Encoding", "X-Accel-Buffering"} {
			w.Header().Del(name)
		}
		e.WriteHTTP(w)
	}
	sub, err := h.o.Hub.NewSubscriber(hub.SubscriberOptions{
		Conn: g, Form: form, Transport: k.name, Client: q.Client, Heartbeat: q.Heartbeat,
	})
	if err != nil {
		refuse(err)
		return nil, false
	}
	heartbeat := q.Heartbeat
	if heartbeat <= 0 {
		heartbeat = h.o.Heartbeat
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.SubscribeTimeout)
	defer cancel()
	err = sub.SubscribeThen(ctx, q.Subscriptions, func(cursor hub.Cursor) []byte {
		return wire.AppendFirst(head, form, &wire.Hello{
			Server: h.o.Server, Node: h.o.Hub.NodeID(), Client: q.Client, Rooms: q.Rooms, Cursor: cursor,
			Heartbeat: heartbeat, Time: time.Now().UnixMilli(),
		}, q.Pad)
	})
	if err != nil {
		sub.End(hub.End{})
		refuse(err)
		return nil, false
	}
	return sub, true
}

// probeAfter is when the heartbeat of a probe comes: late enough that two
// events that arrive together were held back, and soon enough to be waited for.
const probeAfter = 300 * time.Millisecond

// probe sends a subscriber that has been started one heartbeat out of turn. On
// a connection that cannot take it then the probe fails, as it should.
func (h *Handler) probe(sub *hub.Subscriber, q read.Request, form int) {
	if !q.Probe {
		return
	}
	framing := wire.Framings(wire.Options{})[form]
	time.AfterFunc(probeAfter, func() {
		sub.TrySend(framing.AppendHeartbeat(nil, time.Now().UnixMilli(), sub.Cursor().Append(nil)))
	})
}

// head is the head of an answer as net/http would write it.
func head(h http.Header, chunked bool) []byte {
	var b bytes.Buffer
	b.Grow(512)
	if chunked {
		b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
	} else {
		b.WriteString("HTTP/1.0 200 OK\r\n")
	}
	// Behind the end of the stream nothing is served on this connection.
	b.WriteString("Connection: close\r\n")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Write(&b) // It removes line breaks from values; a Buffer does not fail.
	b.WriteString("\r\n")
	return b.Bytes()
}
