package stream

import (
	"net"
	"net/http"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// maxStray is how many bytes a client may send after its request before it is
// cut off: some add a line break to a body, none has a reason to go on.
const maxStray = 4096

// takeOver serves a stream on the connection itself.
func (h *Handler) takeOver(w http.ResponseWriter, r *http.Request, q read.Request, k *kind, form int) {
	// Before the connection is the handler's own: from then on the HTTP server
	// does not wait for it, so Wait has to.
	h.running.Add(1)
	defer h.running.Done()
	p := new(polled)
	g := &p.gate
	chunked := form == wire.FormSSE || form == wire.FormSSEBare || form == wire.FormNDJSON || form == wire.FormNDJSONBare
	sub, ok := h.subscribe(w, r, q, k, form, g, head(w.Header(), chunked))
	if !ok {
		return
	}
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		sub.End(hub.End{})
		codes.New(codes.Internal, "the connection cannot be taken over").WriteHTTP(w)
		return
	}
	stray := brw.Reader.Buffered()
	if pl := h.o.Poller; pl != nil && pl.Native(nc) {
		p.start(h, nc, sub, stray)
		p.Tune(h.o.Tuning)
		g.Open(p)
		sub.Start()
		h.probe(sub, q, form)
		if p.Poll(pl, p) != nil {
			sub.End(hub.End{})
		}
		return
	}
	c := conn.New(nc)
	c.Tune(h.o.Tuning)
	g.Open(c)
	sub.Start()
	h.probe(sub, q, form)
	// A fresh goroutine, so that the request and the HTTP server's buffers go.
	h.running.Go(func() { watch(nc, sub, stray) })
}

// watch waits for the client to leave.
func watch(nc net.Conn, sub *hub.Subscriber, stray int) {
	buf := make([]byte, 64)
	for stray <= maxStray {
		n, err := nc.Read(buf)
		if err != nil {
			break
		}
		stray += n
	}
	sub.End(hub.End{})
	<-sub.Done()
	nc.Close()
}
