// Package poller reads from many mostly silent connections without a goroutine
// each. On Linux one goroutine waits for all of them with epoll; elsewhere, and
// for connections without a descriptor (TLS, pipes), each has a small goroutine
// of its own. The handler sees no difference.
//
// Locks: a Poller's mu is held for table look-ups only, never while a handler
// runs. A Handler's methods are called one at a time for one connection.
package poller

import "net"

// Handler hears what comes in on one connection. Its methods must not block:
// on Linux all connections wait for them.
type Handler interface {
	// Data gets what has arrived. p is valid during the call only. Data
	// returns false to hear no more until c.Resume.
	Data(c *Conn, p []byte) (more bool)
	// Closed is the last call: the peer has closed (io.EOF), or reading failed.
	// The connection is still the owner's to close.
	Closed(c *Conn, err error)
}

// Nearer is a Handler whose memory can be asked for a little before it is called.
type Nearer interface {
	Handler
	// Near reads what Data will look at, and nothing that needs a lock. It may be
	// called at any time.
	Near()
}

// Conn is one connection's registration.
type Conn struct {
	poller  *Poller
	nc      net.Conn
	handler Handler
	source  source
}

// ReadSize is the most that one call of Data gets.
const ReadSize = 16 << 10
