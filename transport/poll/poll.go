// Package poll answers long-polls (PROTOCOL.md, section 9): one complete
// answer to one request, so that every proxy passes it on.
package poll

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
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
}

// Handler answers long-polls. It holds nothing between two polls: the cursor
// that the client sends back is the acknowledgement.
type Handler struct {
	hub     Hub
	o       Options
	buffers sync.Pool // of *[]byte
}

// maxPooled is the largest buffer that is kept for the next answer.
const maxPooled = 64 << 10

// New makes a Handler for a hub that has the framings of wire.Framings.
func New(h Hub, o Options) *Handler {
	if o.Bytes == 0 {
		o.Bytes = 256 << 10
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Handler{hub: h, o: o}
	p.buffers.New = func() any { return new([]byte) }
	return p
}

// Serve answers one poll. It returns when there is something, the wait is over
// or the client is gone.
func (p *Handler) Serve(w http.ResponseWriter, r *http.Request, q read.Request) {
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
	res, err := p.hub.Poll(r.Context(), req)
	if err != nil {
		if r.Context().Err() != nil {
			return // Nobody is left to answer.
		}
		e := codes.From(err)
		if e.Faulty() {
			p.o.Logger.Warn("poll failed", "code", e.Code, "rooms", q.Rooms, "error", err)
		}
		e.WriteHTTP(w)
		return
	}
	buf := p.buffers.Get().(*[]byte)
	body := appendAnswer((*buf)[:0], &res, q.Bare, time.Now().UnixMilli())
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
