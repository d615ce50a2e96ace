package stream

import (
	"net"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
)

// polled is a stream's connection that no goroutine waits for: the poller tells
// when the client has left.
type polled struct {
	conn.Polled
	sub   *hub.Subscriber // set once
	stray int             // owned by the poller's calls
}

func (h *Handler) newPolled(nc net.Conn, sub *hub.Subscriber, stray int) *polled {
	h.running.Add(1)
	p := &polled{sub: sub, stray: stray}
	p.Init(conn.Lighten(nc), h.left)
	return p
}

// Data implements poller.Handler: what a client sends after its request is
// dropped, and too much of it ends the stream.
func (p *polled) Data(_ *poller.Conn, b []byte) (more bool) {
	if p.stray += len(b); p.stray > maxStray {
		p.sub.End(hub.End{})
	}
	return true
}

// Closed implements poller.Handler.
func (p *polled) Closed(*poller.Conn, error) {
	p.sub.End(hub.End{})
	p.Close()
}
