package poller

import (
	"errors"
	"io"
	"net"
	"sync"
)

// smallRead is the buffer of a goroutine that waits for one connection: most
// of them send a few bytes now and then.
const smallRead = 512

// goroutine is the source of a connection that epoll does not know.
type goroutine struct {
	mu      sync.Mutex
	cond    *sync.Cond
	paused  bool // guarded by mu
	stopped bool // guarded by mu
}

func startGoroutine(c *Conn, done func()) {
	g := &goroutine{}
	g.cond = sync.NewCond(&g.mu)
	c.source = g
	go func() {
		defer done()
		g.run(c, c.nc, c.handler)
	}()
}

func (g *goroutine) run(c *Conn, nc net.Conn, h Handler) {
	buf := make([]byte, smallRead)
	for {
		n, err := nc.Read(buf)
		if g.ended() {
			return
		}
		// Resume may come before Data has returned, so the pause begins first.
		if n > 0 && g.pause() && h.Data(c, buf[:n]) {
			g.resume()
		}
		if !g.wait() {
			return
		}
		if err != nil {
			h.Closed(c, closedErr(err))
			return
		}
	}
}

func (g *goroutine) ended() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

// wait returns when the handler wants data again; false means never.
func (g *goroutine) wait() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.paused && !g.stopped {
		g.cond.Wait()
	}
	return !g.stopped
}

func (g *goroutine) pause() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = true
	return true
}

func (g *goroutine) resume() {
	g.mu.Lock()
	g.paused = false
	g.mu.Unlock()
	g.cond.Signal()
}

func (g *goroutine) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.cond.Signal()
}

func (g *goroutine) release() { g.stop() }

// closedErr makes one error of the ways in which a peer says that it is gone.
func closedErr(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}
