package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// topologyRefresh is how often the sentinels or the cluster are asked who is
// who, besides their own announcements.
const topologyRefresh = 5 * time.Second

// resetPause is the shortest time between two resets.
const resetPause = time.Second

// errDial marks errors of connections that never came to be: nothing was sent.
var errDial = errors.New("cannot connect")

// connections is every connection of a store's client. The client does not say
// whether a command that failed had been sent; what is counted here does. And
// it keeps a connection to a server that has become read-only; here it can be
// closed.
type connections struct {
	// Set once.
	began  time.Time
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	// sent counts the writes of commands, on all connections. Writes of
	// handshakes are not counted.
	sent atomic.Uint64

	mu        sync.Mutex
	open      map[*connection]struct{} // guarded by mu
	lastReset time.Time                // guarded by mu
}

func newConnections() *connections {
	ctx, cancel := context.WithCancel(context.Background())
	return &connections{began: time.Now(), ctx: ctx, cancel: cancel, open: make(map[*connection]struct{})}
}

func (c *connections) dial(ctx context.Context, socket bool, addr string, d *net.Dialer, tc *tls.Config) (net.Conn, error) {
	network := "tcp"
	if socket {
		network = "unix"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	var nc net.Conn
	var err error
	if tc != nil && !socket {
		nc, err = (&tls.Dialer{NetDialer: d, Config: tc}).DialContext(ctx, network, addr)
	} else {
		nc, err = d.DialContext(ctx, network, addr)
	}
	if err != nil {
		return nil, &dialError{err}
	}
	conn := &connection{Conn: nc, all: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		nc.Close()
		return nil, &dialError{net.ErrClosed}
	}
	c.open[conn] = struct{}{}
	return conn, nil
}

// reset closes every connection, so that the next command dials again and
// perhaps finds another server behind the same name. It does so at most once a
// second, and reports whether it did.
func (c *connections) reset() bool {
	c.mu.Lock()
	now := time.Now()
	if now.Sub(c.lastReset) < resetPause {
		c.mu.Unlock()
		return false
	}
	c.lastReset = now
	c.mu.Unlock()
	c.closeAll()
	return true
}

// close closes every connection and lets none come to be any more.
func (c *connections) close() {
	c.cancel()
	c.closeAll()
}

func (c *connections) closeAll() {
	c.mu.Lock()
	open := make([]*connection, 0, len(c.open))
	for conn := range c.open {
		open = append(open, conn)
	}
	c.mu.Unlock()
	for _, conn := range open {
		conn.Conn.Close()
	}
}

// dialError keeps the words of the dialer's error and adds errDial.
type dialError struct{ err error }

func (e *dialError) Error() string        { return e.err.Error() }
func (e *dialError) Unwrap() error        { return e.err }
func (e *dialError) Is(target error) bool { return target == errDial }

// connection is one connection to a server.
type connection struct {
	net.Conn
	all *connections
	// answered is set with the server's first bytes, which are its answer to
	// the handshake: what is written before is the handshake.
	answered atomic.Bool
	// heard is when it last said something, in nanoseconds of this process.
	heard atomic.Int64
}

// quiet is after how long a connection is looked at before something is
// written to it.
const quiet = time.Millisecond

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.all.began)))
		if !c.answered.Load() {
			c.answered.Store(true)
		}
	}
	return n, err
}

func (c *connection) Write(p []byte) (int, error) {
	if !c.answered.Load() {
		return c.Conn.Write(p)
	}
	// A server that was stopped has closed the connections that nobody used.
	// What is written to such a one is lost, and would have an unknown outcome.
	if int64(time.Since(c.all.began))-c.heard.Load() > int64(quiet) && gone(c.Conn) {
		return 0, net.ErrClosed
	}
	// Before the write: whoever sees no change knows that nothing left.
	c.all.sent.Add(1)
	return c.Conn.Write(p)
}

func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
