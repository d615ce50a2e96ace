package stream

import (
	"net"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

// halfConn is a connection whose writing side can be ended alone.
type halfConn interface {
	hub.Conn
	CloseWrite() error
}

// gate is a connection that a subscriber may have before it exists: writes
// wait until it is opened. So a subscriber that is ended at once, by a node
// that drains, still says its first words first.
type gate struct {
	once sync.Once
	shut chan struct{} // closed by Close
	open chan struct{} // closed when conn is there

	mu     sync.Mutex
	conn   halfConn // guarded by mu until open is closed, constant then
	closed bool     // guarded by mu
}

func newGate() *gate { return &gate{shut: make(chan struct{}), open: make(chan struct{})} }

// Open lets writes through to c. Where the gate has been closed, so is c.
func (g *gate) Open(c halfConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = c
	close(g.open)
	if g.closed {
		c.Close()
	}
}

// opened reports whether there is a connection.
func (g *gate) opened() bool {
	select {
	case <-g.open:
		return true
	default:
		return false
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
	select {
	case <-g.open:
		return g.conn.Write(p)
	case <-g.shut:
		return 0, net.ErrClosed
	}
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
	g.once.Do(func() { close(g.shut) })
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.conn != nil {
		return g.conn.Close()
	}
	return nil
}
