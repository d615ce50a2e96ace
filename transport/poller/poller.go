package poller

import (
	"errors"
	"net"
	"sync"
)

// ErrClosed is returned by Add after Close.
var ErrClosed = errors.New("the poller is closed")

// source is where a connection's data comes from.
type source interface {
	resume()
	stop()
	release()
}

// Poller reads from the connections that are added to it.
type Poller struct {
	wg    sync.WaitGroup // the waiting goroutine and those of single connections
	epoll *epoll         // nil where there is none; set once

	mu     sync.Mutex
	closed bool // guarded by mu
}

// New starts a poller. Where epoll cannot be had, every connection gets a
// goroutine.
func New() *Poller { return NewRounds(nil) }

// NewRounds is New with a function that is called after each round: whenever
// all that has arrived was handed to the handlers, and before the poller waits
// again, on its goroutine. Rounds are of connections that are Native.
func NewRounds(after func()) *Poller {
	p := &Poller{}
	p.epoll = startEpoll(&p.wg, after)
	return p
}

// WithoutEpoll starts what New does on systems that have no epoll.
func WithoutEpoll() *Poller { return &Poller{} }

// Add starts reading from nc. Calls of h may begin before Add returns. The
// connection stays the caller's, who calls Stop before closing it.
func (p *Poller) Add(nc net.Conn, h Handler) (*Conn, error) {
	c := &Conn{poller: p, nc: nc, handler: h}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.wg.Add(1) // so that Close does not miss it
	p.mu.Unlock()
	if p.epoll != nil {
		if ok := p.epoll.add(c); ok {
			p.wg.Done()
			return c, nil
		}
	}
	startGoroutine(c, p.wg.Done)
	return c, nil
}

// Native reports whether nc is read without a goroutine of its own.
func (p *Poller) Native(nc net.Conn) bool {
	_, tcp := nc.(*net.TCPConn)
	return tcp && p.epoll != nil
}

// Native reports whether the connection is read without a goroutine of its own:
// the system may refuse even one of which Poller.Native says that it can be.
func (c *Conn) Native() bool {
	_, goroutine := c.source.(*goroutine)
	return !goroutine
}

// Resume has Data called again after it returned false.
func (c *Conn) Resume() { c.source.resume() }

// Stop ends reading. A call of the handler that is under way may still be
// running when it returns; no other follows. A goroutine that waits for the
// connection ends when that is closed.
func (c *Conn) Stop() { c.source.stop() }

// Release is Stop for a connection that is not closed but read by somebody
// else from now on. It may be called only while Data is paused: a goroutine that
// reads would take a part of what comes.
func (c *Conn) Release() { c.source.release() }

// Close stops the poller and waits for its goroutines; the connections that
// were added must have been closed.
func (p *Poller) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if p.epoll != nil {
		p.epoll.close()
	}
	p.wg.Wait()
}
