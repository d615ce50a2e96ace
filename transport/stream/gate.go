package stream

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/hub"
)

// halfConn is a connection whose writing side can be ended alone.
type halfConn interface {
	hub.Conn
	hub.Nearer
	CloseWrite() error
}

// gate is a connection that a subscriber may have before it exists: writes
// wait until it is opened. So a subscriber that is ended at once, by a node
// that drains, still says its first words first. Its zero value is closed.
type gate struct {
	there atomic.Bool // conn is set, for good

	mu     sync.Mutex
	conn   halfConn      // guarded by mu until there, constant then
	closed bool          // guarded by mu
	change chan struct{} // closed when one of both is set; nil if nobody waits; guarded by mu
}

// Open lets writes through to c. Where the gate has been closed, so is c.
func (g *gate) Open(c halfConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = c
	g.there.Store(true)
	g.changedLocked()
	if g.closed {
		c.Close()
	}
}

func (g *gate) changedLocked() {
	if g.change != nil {
		close(g.change)
		g.change = nil
	}
}

// opened reports whether there is a connection.
func (g *gate) opened() bool { return g.there.Load() }

// Near implements hub.Nearer.
func (g *gate) Near() {
	if g.opened() {
		g.conn.Near()
	}
}

// TryWrite does not wait.
func (g *gate) TryWrite(p []byte) (int, error) {
	if g.opened() {
		return g.conn.TryWrite(p)
	}
	return 0, nil
}

func (g *gate) Write(p []byte) (int, error) {
	if g.opened() || g.wait() {
		return g.conn.Write(p)
	}
	return 0, net.ErrClosed
}

// wait waits until the gate is open or closed, and tells which.
func (g *gate) wait() (open bool) {
	g.mu.Lock()
	for g.conn == nil && !g.closed {
		if g.change == nil {
			g.change = make(chan struct{})
		}
		change := g.change
		g.mu.Unlock()
		<-change
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	return g.conn != nil
}

// SetWriteDeadline sets none while the gate is closed: the handshake has its
// own bound.
func (g *gate) SetWriteDeadline(t time.Time) error {
	if g.opened() {
		return g.conn.SetWriteDeadline(t)
	}
	return nil
}

func (g *gate) CloseWrite() error {
	if g.opened() {
		return g.conn.CloseWrite()
	}
	return net.ErrClosed
}

// Close closes what there is, and makes a Write that waits return.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.changedLocked()
	if g.conn != nil {
		return g.conn.Close()
	}
	return nil
}
