package stream

import (
	"net"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
)

// polled is a stream's connection that no goroutine waits for: the poller tells
// when the client has left.
//
// The gate through which the subscriber writes lies beside the connection: each
// in a place of its own would be one more that is in no cache when it is
// written to.
type polled struct {
	gate gate
	conn.Polled
	sub   *hub.Subscriber // set once
	stray int             // owned by the poller's calls
}

// start takes over nc.
func (p *polled) start(h *Handler, nc net.Conn, sub *hub.Subscriber, stray int) {
	h.running.Add(1)
	p.sub, p.stray = sub, stray
	p.Init(conn.Lighten(nc), h.left)
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
