// Package conn makes hub connections of network connections: the seam behind
// which the ways of writing to one lie.
package conn

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// Net is a hub.Conn on a network connection that the caller has taken over.
type Net struct {
	nc  net.Conn
	raw syscall.RawConn // nil where writing without waiting is not possible
}

// New takes over nc.
func New(nc net.Conn) *Net { return &Net{nc: nc, raw: rawOf(nc)} }

// Tuning are the bounds on a connection that the operating system keeps. A zero
// field leaves the system's own.
type Tuning struct {
	// SendBuffer is SO_SNDBUF in bytes. Left to itself the kernel grows it to
	// megabytes for a reader that has stalled.
	SendBuffer int
	// UserTimeout ends a connection whose peer acknowledges nothing for so
	// long (TCP_USER_TIMEOUT; Linux).
	UserTimeout time.Duration
	// NotSentLowat bounds in bytes what waits in the kernel unsent
	// (TCP_NOTSENT_LOWAT; Linux).
	NotSentLowat int
}

// Conn is the network connection itself.
func (c *Net) Conn() net.Conn { return c.nc }

// Tune sets bounds; what the system refuses is left as it was.
func (c *Net) Tune(t Tuning) { Tune(c.nc, t) }

// Tune sets bounds on a connection, or on the one under its encryption.
func Tune(nc net.Conn, t Tuning) {
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	if t != (Tuning{}) {
		tune(nc, t)
	}
}

// TryWrite writes what the connection takes at once: 0 where that is not known,
// and the hub's writer does the work.
func (c *Net) TryWrite(p []byte) (int, error) {
	if c.raw == nil {
		return 0, nil
	}
	return tryWrite(c.raw, p)
}

// Near implements hub.Nearer.
func (c *Net) Near() {
	if l := lightIn(c.raw); l != nil {
		l.near()
	}
}

func (c *Net) Write(p []byte) (int, error) { return c.nc.Write(p) }

// SetWriteDeadline bounds the next Write.
func (c *Net) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

// Close closes the connection; more than once does nothing. It does not wait:
// TLS would say goodbye first, for up to 5 s to a peer that takes nothing. Who
// has time for that calls CloseWrite before.
func (c *Net) Close() error {
	if secure, ok := c.nc.(*tls.Conn); ok {
		return secure.NetConn().Close()
	}
	return c.nc.Close()
}

var errNotHalf = errors.New("this connection is closed whole or not at all")

// CloseWrite tells the peer that nothing follows, and leaves its own way open:
// closing while bytes of the peer are unread would take from it what it has
// not read yet.
func (c *Net) CloseWrite() error {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errNotHalf
}

// Drain reads and drops what the peer still sends, until it closes or the
// connection is closed here.
func (c *Net) Drain() {
	c.nc.SetReadDeadline(time.Time{})
	buf := make([]byte, 512)
	for {
		if _, err := c.nc.Read(buf); err != nil {
			return
		}
	}
}
