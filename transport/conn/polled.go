package conn

import (
	"net"
	"sync"

	"github.com/culvertd/culvert/transport/poller"
)

// Polled is a connection that a poller reads. Closing it takes it out of the
// poller.
type Polled struct {
	Net
	gone func() // called once, when it is closed; set once

	mu     sync.Mutex
	reg    *poller.Conn // guarded by mu; nil until it is read
	closed bool         // guarded by mu
}

// Init takes over nc; gone is called when the connection is closed.
func (p *Polled) Init(nc net.Conn, gone func()) {
	p.Net, p.gone = *New(nc), gone
}

// Poll begins to read. Where that fails the connection is closed.
func (p *Polled) Poll(pl *poller.Poller, h poller.Handler) error {
	// Held while it is added: calls of the handler may begin before that returns,
	// and what they ask for here must find the registration.
	p.mu.Lock()
	reg, err := pl.Add(p.nc, h)
	if err != nil {
		p.mu.Unlock()
		p.Close()
		return err
	}
	p.reg = reg
	closed := p.closed
	p.mu.Unlock()
	if closed { // meanwhile
		reg.Stop()
	}
	return nil
}

// Resume has the handler's Data called again after it returned false.
func (p *Polled) Resume() {
	p.mu.Lock()
	reg, closed := p.reg, p.closed
	p.mu.Unlock()
	if reg != nil && !closed {
		reg.Resume()
	}
}

// Release gives the connection up without closing it: somebody else reads it
// from now on. It is false where the connection was closed meanwhile. Only while
// reading is paused.
func (p *Polled) Release() bool {
	p.mu.Lock()
	reg := p.reg
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.closed = true
	p.mu.Unlock()
	if reg != nil {
		reg.Release()
	}
	p.gone()
	return true
}

// Close closes the connection; more than once does nothing.
func (p *Polled) Close() error {
	err := p.Net.Close()
	p.mu.Lock()
	first, reg := !p.closed, p.reg
	p.closed = true
	p.mu.Unlock()
	if first {
		if reg != nil {
			reg.Stop()
		}
		p.gone()
	}
	return err
}
