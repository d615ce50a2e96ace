package poller

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// interest is what a connection is watched for: each arrival is told once, so
// that one that has been read needs no call to be watched on, and one whose
// handler pauses is left alone.
const interest = syscall.EPOLLIN | syscall.EPOLLRDHUP | (1 << 31) // EPOLLET

// hangUp is told once too, perhaps together with the last data.
const hangUp = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR

// epoll waits for all connections in one goroutine. Its own descriptor is
// watched by the runtime's poller, so that no thread is held by waiting.
type epoll struct {
	fd   int
	file *os.File
	raw  syscall.RawConn

	// owned by the waiting goroutine
	events []syscall.EpollEvent
	buf    []byte
	n      int
	err    error
	read   func(fd uintptr) // set once; reads into buf
	after  func()           // set once; nil or called after a round

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
	near    Nearer // the handler, if it is one
	conn    *Conn
	raw     syscall.RawConn
	index   int32
	gen     int32
	paused  atomic.Bool // the handler has the data, and may want no more
	stopped bool        // guarded by epoll.mu
}

func startEpoll(wg *sync.WaitGroup, after func()) *epoll {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil
	}
	e := &epoll{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]syscall.EpollEvent, 256), buf: make([]byte, ReadSize), after: after}
	if e.raw, err = e.file.SyscallConn(); err != nil {
		e.file.Close()
		return nil
	}
	e.read = func(fd uintptr) {
		for {
			// The descriptor does not block, so the scheduler need not hear of it.
			n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&e.buf[0])), uintptr(len(e.buf)))
			switch errno {
			case 0:
				e.n, e.err = int(n), nil
				return
			case syscall.EINTR:
			default:
				e.n, e.err = 0, errno
				return
			}
		}
	}
	wg.Go(e.run)
	return e
}

func (e *epoll) close() { e.file.Close() }

// run serves all connections inside of one Read of the set's descriptor, which
// calls serveReady whenever there may be something. Between two calls of it
// nothing that is told is forgotten, as it would be between two Reads; so a look
// that did not fill events was the last one needed, and no other follows that
// finds nothing.
func (e *epoll) run() { e.raw.Read(e.serveReady) } // until it is closed

// serveReady serves what is ready, and is never done.
func (e *epoll) serveReady(fd uintptr) (done bool) {
	for {
		n, errno := look(fd, e.events)
		if errno == syscall.EINTR {
			continue
		}
		events := e.events[:max(n, 0)]
		for i, ev := range events {
			if i%lookAhead == 0 {
				e.lookAt(events[i:min(i+lookAhead, len(events))])
			}
			if s := e.find(ev.Fd, ev.Pad); s != nil {
				s.serve(ev.Events)
			}
		}
		if n > 0 && e.after != nil {
			e.after()
		}
		if n < len(e.events) {
			return false
		}
	}
}

// look is epoll_wait(2) without waiting, and without telling the scheduler: with
// hundreds of connections that are in no cache it takes so long that the
// scheduler would give the processor to another thread, and back again.
func look(fd uintptr, events []syscall.EpollEvent) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	return int(n), errno
}

// lookAhead is how many connections' memory is asked for at a time. That of
// thousands is in no cache; asked for together it comes in about the time of
// one.
const lookAhead = 8

// lookAt reads, of each connection, what never changes.
func (e *epoll) lookAt(events []syscall.EpollEvent) {
	for _, ev := range events {
		if s := e.find(ev.Fd, ev.Pad); s != nil && s.near != nil {
			s.near.Near()
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
	s.near, _ = c.handler.(Nearer)
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

// serve reads once.
func (s *epollSource) serve(events uint32) {
	if s.paused.Load() {
		return // Resume asks again
	}
	e := s.epoll
	e.n, e.err = 0, nil
	if err := s.raw.Control(e.read); err != nil {
		e.n, e.err = 0, err // closed here
	}
	switch {
	case e.n > 0:
		more := e.n == len(e.buf) || events&hangUp != 0
		// Before the call: Resume may come before Data has returned.
		s.paused.Store(true)
		if !s.conn.handler.Data(s.conn, e.buf[:e.n]) {
			return
		}
		s.paused.Store(false)
		if more {
			s.watch() // there is something left that will not be told again
		}
	case e.err == syscall.EAGAIN:
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

func (s *epollSource) resume() {
	s.paused.Store(false)
	s.watch()
}

// watch has what is there already told again. A connection that was closed
// meanwhile has left the set by itself.
func (s *epollSource) watch() { s.control(syscall.EPOLL_CTL_MOD) }

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
