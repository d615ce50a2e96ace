package poller

import (
	"io"
	"os"
	"sync"
	"syscall"
)

// interest is what a connection is watched for: once, and then again when its
// handler wants more, so that a handler that pauses is left alone.
const interest = syscall.EPOLLIN | syscall.EPOLLRDHUP | (1 << 30) // EPOLLONESHOT

// epoll waits for all connections in one goroutine. Its own descriptor is
// watched by the runtime's poller, so that no thread is held by waiting.
type epoll struct {
	fd   int
	file *os.File
	raw  syscall.RawConn

	// owned by the waiting goroutine
	events []syscall.EpollEvent
	ready  int
	buf    []byte
	n      int
	err    error
	read   func(fd uintptr) bool // set once; reads into buf

	mu sync.Mutex
	// guarded by mu
	slots []slot
	free  []int32
}

// slot is one registration. Its generation tells an event of a connection that
// has gone from one of its successor.
type slot struct {
	source *epollSource
	gen    int32
}

// epollSource is one connection in the set.
type epollSource struct {
	epoll   *epoll
	conn    *Conn
	raw     syscall.RawConn
	index   int32
	gen     int32
	stopped bool // guarded by epoll.mu
}

func startEpoll(wg *sync.WaitGroup) *epoll {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil
	}
	e := &epoll{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]syscall.EpollEvent, 256), buf: make([]byte, ReadSize)}
	if e.raw, err = e.file.SyscallConn(); err != nil {
		e.file.Close()
		return nil
	}
	e.read = func(fd uintptr) bool {
		for {
			e.n, e.err = syscall.Read(int(fd), e.buf)
			if e.err != syscall.EINTR {
				return true
			}
		}
	}
	wg.Go(e.run)
	return e
}

func (e *epoll) close() { e.file.Close() }

func (e *epoll) run() {
	wait := func(fd uintptr) bool {
		n, err := syscall.EpollWait(int(fd), e.events, 0)
		if err != nil {
			n = 0
		}
		e.ready = n
		return n > 0
	}
	for {
		if err := e.raw.Read(wait); err != nil {
			return // closed
		}
		for _, ev := range e.events[:e.ready] {
			if s := e.find(ev.Fd, ev.Pad); s != nil {
				s.serve()
			}
		}
	}
}

func (e *epoll) find(index, gen int32) *epollSource {
	e.mu.Lock()
	defer e.mu.Unlock()
	if int(index) >= len(e.slots) || e.slots[index].gen != gen {
		return nil
	}
	return e.slots[index].source
}

// add registers a connection; false means that it has no descriptor or that
// the system does not take it.
func (e *epoll) add(c *Conn) bool {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	s := &epollSource{epoll: e, conn: c, raw: raw}
	e.mu.Lock()
	if n := len(e.free); n > 0 {
		s.index, e.free = e.free[n-1], e.free[:n-1]
	} else {
		s.index = int32(len(e.slots))
		e.slots = append(e.slots, slot{})
	}
	sl := &e.slots[s.index]
	sl.gen++
	sl.source, s.gen = s, sl.gen
	e.mu.Unlock()
	c.source = s
	if s.control(syscall.EPOLL_CTL_ADD) != nil {
		s.stop()
		c.source = nil
		return false
	}
	return true
}

func (s *epollSource) control(op int) (err error) {
	ev := syscall.EpollEvent{Events: interest, Fd: s.index, Pad: s.gen}
	if cerr := s.raw.Control(func(fd uintptr) { err = syscall.EpollCtl(s.epoll.fd, op, int(fd), &ev) }); cerr != nil {
		return cerr
	}
	return err
}

// serve reads once and watches on.
func (s *epollSource) serve() {
	e := s.epoll
	e.n, e.err = 0, nil
	if err := s.raw.Read(e.read); err != nil {
		e.n, e.err = 0, err // closed here
	}
	switch {
	case e.n > 0:
		if s.conn.handler.Data(s.conn, e.buf[:e.n]) {
			s.resume()
		}
	case e.err == syscall.EAGAIN:
		s.resume()
	default:
		err := e.err
		if err == nil {
			err = io.EOF
		}
		if s.remove() {
			s.conn.handler.Closed(s.conn, err)
		}
	}
}

// resume watches for the next data. A connection that was closed meanwhile
// has left the set by itself.
func (s *epollSource) resume() { s.control(syscall.EPOLL_CTL_MOD) }

// stop frees the slot. Closing the connection takes it out of the set.
func (s *epollSource) stop() {
	s.remove()
}

// release stops and takes the connection out of the set, which closing it would
// do otherwise.
func (s *epollSource) release() {
	s.remove()
	s.control(syscall.EPOLL_CTL_DEL)
}

// remove tells whether the connection was still registered.
func (s *epollSource) remove() bool {
	e := s.epoll
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.stopped {
		return false
	}
	s.stopped = true
	e.slots[s.index].source = nil
	e.free = append(e.free, s.index)
	return true
}
