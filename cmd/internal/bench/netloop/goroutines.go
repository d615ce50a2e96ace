package netloop

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// goroutines is the form for every system, and for TLS: one goroutine reads a
// connection, and waits until what it has read was handled.
type goroutines struct {
	addr   *net.TCPAddr
	tls    *tls.Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	events chan event

	// owned by the loop's goroutine
	timer *time.Timer
	live  map[*stream]struct{}
}

type event struct {
	s    *stream
	nc   net.Conn // opened
	data []byte
	err  error
}

// stream is one connection.
type stream struct {
	loop    *goroutines
	handler Handler
	handled chan struct{} // capacity 1: what was read has been handled
	done    chan struct{}

	// owned by the loop's goroutine
	paused, waiting, closed bool

	mu      sync.Mutex
	nc      net.Conn // guarded by mu
	out     []byte   // guarded by mu
	writing bool     // guarded by mu
}

// batch is the most events that one wait handles.
const batch = 256

func newGoroutines(addr *net.TCPAddr, config *tls.Config) *goroutines {
	g := &goroutines{addr: addr, tls: config, events: make(chan event, batch), timer: time.NewTimer(time.Hour), live: map[*stream]struct{}{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

func (g *goroutines) dial(h Handler, o DialOptions) Conn {
	s := &stream{loop: g, handler: h, handled: make(chan struct{}, 1), done: make(chan struct{})}
	g.live[s] = struct{}{}
	g.wg.Go(func() { s.run(o) })
	return s
}

func (s *stream) run(o DialOptions) {
	g := s.loop
	nc, err := g.connect(o)
	if err != nil {
		s.tell(event{s: s, err: err})
		return
	}
	if !s.tell(event{s: s, nc: nc}) {
		nc.Close()
		return
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := nc.Read(buf)
		if n > 0 {
			if !s.tell(event{s: s, data: buf[:n]}) {
				return
			}
			select {
			case <-s.handled:
			case <-s.done:
				return
			}
		}
		if err != nil {
			s.tell(event{s: s, err: err})
			return
		}
	}
}

func (g *goroutines) connect(o DialOptions) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", g.addr.String())
	if err != nil {
		return nil, err
	}
	if tcp, ok := nc.(*net.TCPConn); ok && o.ReceiveBuffer > 0 {
		tcp.SetReadBuffer(o.ReceiveBuffer) // what the system refuses only changes how soon it stalls
	}
	if g.tls == nil {
		return nc, nil
	}
	secure := tls.Client(nc, g.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return secure, nil
}

// tell hands an event to the loop; false means that nobody wants it any more.
func (s *stream) tell(ev event) bool {
	select {
	case s.loop.events <- ev:
		return true
	case <-s.done:
		return false
	}
}

func (g *goroutines) wait(d time.Duration) error {
	g.timer.Reset(max(d, 0))
	select {
	case ev := <-g.events:
		g.handle(ev)
	case <-g.timer.C:
		return nil
	}
	for range batch {
		select {
		case ev := <-g.events:
			g.handle(ev)
		default:
			return nil
		}
	}
	return nil
}

func (g *goroutines) handle(ev event) {
	s := ev.s
	switch {
	case s.closed:
		if ev.nc != nil {
			ev.nc.Close()
		}
	case ev.err != nil:
		s.Close()
		s.handler.Closed(ev.err)
	case ev.nc != nil:
		s.mu.Lock()
		s.nc = ev.nc
		s.mu.Unlock()
		s.handler.Opened()
		s.Write(nil) // what was written before
	default:
		s.handler.Data(ev.data)
		if s.paused {
			s.waiting = true
		} else {
			s.handled <- struct{}{}
		}
	}
}

// Write implements Conn.
func (s *stream) Write(p []byte) {
	if s.closed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nc != nil && len(s.out)+len(p) > maxPending {
		s.nc.Close() // the reader finds out
		return
	}
	s.out = append(s.out, p...)
	if s.nc != nil && !s.writing && len(s.out) > 0 {
		s.writing = true
		s.loop.wg.Go(s.flush)
	}
}

func (s *stream) flush() {
	for {
		s.mu.Lock()
		p := s.out
		s.out = nil
		s.writing = len(p) > 0
		s.mu.Unlock()
		if len(p) == 0 {
			return
		}
		if _, err := s.nc.Write(p); err != nil {
			s.nc.Close() // the reader finds out
			return
		}
	}
}

// Pause implements Conn.
func (s *stream) Pause() { s.paused = true }

// Resume implements Conn.
func (s *stream) Resume() {
	s.paused = false
	if s.waiting {
		s.waiting = false
		s.handled <- struct{}{}
	}
}

// Close implements Conn.
func (s *stream) Close() {
	if s.closed {
		return
	}
	s.closed = true
	delete(s.loop.live, s)
	close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nc != nil {
		s.nc.Close()
	}
}

func (g *goroutines) close() {
	for s := range g.live {
		s.Close()
	}
	g.cancel()
	stopped := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(stopped)
	}()
	for {
		select {
		case ev := <-g.events: // a connection that had just been opened
			g.handle(ev)
		case <-stopped:
			for len(g.events) > 0 {
				g.handle(<-g.events)
			}
			return
		}
	}
}
