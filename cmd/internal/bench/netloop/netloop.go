// Package netloop drives many client connections to one server from one
// goroutine: no goroutine per connection, no lock, no allocation per read. On
// Linux it waits with epoll; elsewhere, and for TLS, a goroutine reads each
// connection and hands what it read to the same one.
//
// Everything but New is called by the loop's goroutine, handlers included.
package netloop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Handler hears of one connection.
type Handler interface {
	// Opened: the connection is there (and its TLS handshake done).
	Opened()
	// Data gets what has arrived; p is valid during the call only.
	Data(p []byte)
	// Closed is the last call: the peer has closed (io.EOF), or something
	// failed. It does not come after Conn.Close.
	Closed(err error)
}

// Conn is one connection.
type Conn interface {
	// Write sends p, or as much as goes at once, and keeps the rest until it
	// does. A failure arrives as Closed.
	Write(p []byte)
	// Pause stops reading until Resume.
	Pause()
	Resume()
	Close()
}

// Options say where a loop's connections go.
type Options struct {
	// Address is host:port. A name is resolved once.
	Address string
	// TLS is nil for plain TCP.
	TLS *tls.Config
	// Awake is for how long Wait looks again and again before it sleeps. A
	// server on the same machine whose write finds the reader asleep pays for
	// waking it, which it would not where its clients are elsewhere. It takes a
	// core of its own; without epoll it has no effect.
	Awake time.Duration
	// Portable takes the form without epoll even where that is there.
	Portable bool
}

// DialOptions are those of one connection.
type DialOptions struct {
	// ReceiveBuffer bounds what the system takes in for a reader that does not
	// read, in bytes; 0 leaves it to the system.
	ReceiveBuffer int
	// First has the connection looked at before others, again and again while
	// these are served: for the few whose latency is measured beside a crowd.
	// Without epoll it has no effect.
	First bool
}

// Loop has the connections.
type Loop struct{ backend }

type backend interface {
	dial(h Handler, o DialOptions) Conn
	// wait handles what has happened, waiting for it for d at most.
	wait(d time.Duration) error
	close()
}

// errPending bounds what a peer may leave unread of what is written to it.
var errPending = errors.New("the server does not read what is sent to it")

// maxPending is that bound. Publishes in flight are far below it.
const maxPending = 64 << 20

// dialTimeout bounds how long a connection may take to open.
const dialTimeout = 20 * time.Second

// New makes a loop. The address is resolved with ctx.
func New(ctx context.Context, o Options) (*Loop, error) {
	addr, err := resolve(ctx, o.Address)
	if err != nil {
		return nil, err
	}
	if o.TLS == nil && !o.Portable {
		b, err := newEpoll(addr, o.Awake)
		if err == nil {
			return &Loop{b}, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
	}
	return &Loop{newGoroutines(addr, o.TLS)}, nil
}

// resolve prefers IPv4, which has more than one loopback address.
func resolve(ctx context.Context, address string) (*net.TCPAddr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not host:port", address)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	best := ips[0]
	for _, ip := range ips {
		if ip.IP.To4() != nil {
			best = ip
			break
		}
	}
	return &net.TCPAddr{IP: best.IP, Zone: best.Zone, Port: number}, nil
}

// Dial opens a connection. The outcome arrives as Opened or Closed, in a call
// of Wait.
func (l *Loop) Dial(h Handler, o DialOptions) Conn { return l.dial(h, o) }

// Wait handles what has happened on any connection. It waits for something to
// happen, for d at most, and returns after handling some of it.
func (l *Loop) Wait(d time.Duration) error { return l.wait(d) }

// Close closes all connections and waits for the loop's goroutines. Handlers
// hear nothing of it.
func (l *Loop) Close() { l.close() }
