package transporttest

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// Network is where a server listens and clients dial. Pipes is one inside a
// synctest bubble, Loopback a real one.
type Network interface {
	net.Listener
	// Dial connects to the listener.
	Dial(ctx context.Context) (net.Conn, error)
}

// Pipes is a network of net.Pipe ends: nothing is buffered, time-outs and
// closing work, and everything blocks durably inside a synctest bubble.
type Pipes struct {
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

// NewPipes makes a network.
func NewPipes() *Pipes {
	return &Pipes{accept: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for the next Dial.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Dial connects: both ends are net.Pipe's.
func (p *Pipes) Dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.accept <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends Accept and Dial. Connections stay.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr names the network.
func (p *Pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// Loopback is TCP on the loopback interface.
type Loopback struct {
	net.Listener
	buffer int
}

// smallBuffer is about the least that Linux gives a socket: writes of a few
// kilobytes are partial ones.
const smallBuffer = 4096

// NewLoopback listens on a free port. With tiny set, sockets on both sides
// have the smallest buffers, so that writes are cut short all the time.
func NewLoopback(tiny bool) (*Loopback, error) {
	l := &Loopback{}
	if tiny {
		l.buffer = smallBuffer
	}
	// Buffers are set before connections exist: a window once offered is not
	// taken back.
	lc := net.ListenConfig{Control: l.control}
	nl, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.Listener = nl
	return l, nil
}

func (l *Loopback) control(_, _ string, rc syscall.RawConn) (err error) {
	if l.buffer == 0 {
		return nil
	}
	cerr := rc.Control(func(fd uintptr) {
		err = setBuffers(fd, l.buffer)
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// Dial connects with buffers of the same size.
func (l *Loopback) Dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Control: l.control}
	return d.DialContext(ctx, "tcp", l.Addr().String())
}
