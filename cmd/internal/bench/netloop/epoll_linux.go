package netloop

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readSize is the most that is read at a time: what a connection sends in a
// burst, and a large poll's answer in a few pieces.
const readSize = 64 << 10

// epoll has the connections as descriptors of its own; the runtime's poller
// knows nothing of them.
type epoll struct {
	fd      int
	first   int  // the set of those that come first; a member of fd's
	hurries bool // there was one
	addr    unix.Sockaddr
	family  int
	sources sources
	slots   []*socket
	gens    []int32
	free    []int32
	failed  []*socket // to be told with the next wait
	opening []*socket // oldest first
	events  []unix.EpollEvent
	urgent  []unix.EpollEvent
	buf     []byte
	awake   time.Duration // set once
}

// firstSlot marks the event by which fd tells of first.
const firstSlot = -1

// firstEvery is how many others are served between two looks at first.
const firstEvery = 32

// socket is one connection. Its slot and generation tell an event of it from
// one of a predecessor, which may wait in the same batch.
type socket struct {
	loop    *epoll
	handler Handler
	set     int // the epoll that it is in
	fd      int
	slot    int32
	gen     int32
	opening time.Time // zero once it is open
	paused  bool
	closed  bool
	failure error // set while in failed
	out     []byte
	armed   uint32
}

func newEpoll(addr *net.TCPAddr, awake time.Duration) (backend, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	first, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, first, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: firstSlot})
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("epoll", err)
	}
	e := &epoll{fd: fd, first: first, awake: awake, events: make([]unix.EpollEvent, 512), urgent: make([]unix.EpollEvent, 64), buf: make([]byte, readSize)}
	if ip := addr.IP.To4(); ip != nil {
		e.family, e.addr = unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
		e.sources.loopback = ip.IsLoopback()
	} else {
		e.family, e.addr = unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP.To16())}
	}
	return e, nil
}

func (e *epoll) dial(h Handler, o DialOptions) Conn {
	s := &socket{loop: e, handler: h, set: e.fd, fd: -1, slot: -1}
	if o.First {
		s.set, e.hurries = e.first, true
	}
	if err := e.connect(s, o); err != nil {
		s.fail(err)
	}
	return s
}

func (e *epoll) connect(s *socket, o DialOptions) error {
	for {
		fd, err := unix.Socket(e.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err == nil && o.ReceiveBuffer > 0 {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer)
		}
		if err == nil {
			err = e.sources.bind(fd)
		}
		if err == nil {
			err = unix.Connect(fd, e.addr)
		}
		if err == unix.EADDRNOTAVAIL && e.sources.next() {
			unix.Close(fd)
			continue
		}
		if err != nil && err != unix.EINPROGRESS {
			unix.Close(fd)
			return os.NewSyscallError("connect", err)
		}
		s.fd = fd
		s.opening = time.Now()
		e.opening = append(e.opening, s)
		return e.register(s)
	}
}

func (e *epoll) register(s *socket) error {
	if n := len(e.free); n > 0 {
		s.slot, e.free = e.free[n-1], e.free[:n-1]
	} else {
		s.slot = int32(len(e.slots))
		e.slots, e.gens = append(e.slots, nil), append(e.gens, 0)
	}
	e.gens[s.slot]++
	e.slots[s.slot], s.gen = s, e.gens[s.slot]
	s.armed = unix.EPOLLOUT
	ev := unix.EpollEvent{Events: s.armed, Fd: s.slot, Pad: s.gen}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.set, unix.EPOLL_CTL_ADD, s.fd, &ev))
}

// arm makes the set wait for what the connection wants now.
func (s *socket) arm() {
	var want uint32
	if !s.paused && s.opening.IsZero() {
		want = unix.EPOLLIN
	}
	if len(s.out) > 0 || !s.opening.IsZero() {
		want |= unix.EPOLLOUT
	}
	if want == s.armed || s.closed {
		return
	}
	s.armed = want
	ev := unix.EpollEvent{Events: want, Fd: s.slot, Pad: s.gen}
	if err := unix.EpollCtl(s.set, unix.EPOLL_CTL_MOD, s.fd, &ev); err != nil {
		s.fail(os.NewSyscallError("epoll_ctl", err))
	}
}

func (e *epoll) wait(d time.Duration) error {
	if len(e.failed) > 0 {
		e.tellFailed()
		return nil
	}
	e.expire()
	n, err := e.next(d)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("epoll_wait", err)
	}
	for i, ev := range e.events[:n] {
		if e.hurries && i%firstEvery == 0 {
			if err := e.serveFirst(); err != nil {
				return err
			}
		}
		if ev.Fd != firstSlot {
			e.serve(ev)
		}
	}
	return nil
}

// next waits for events, for d at most: awake at first, asleep then.
func (e *epoll) next(d time.Duration) (int, error) {
	if e.awake > 0 {
		for begin := time.Now(); ; {
			n, err := unix.EpollWait(e.fd, e.events, 0)
			if n != 0 || err != nil {
				return n, err
			}
			if waited := time.Since(begin); waited >= min(e.awake, d) {
				d -= waited
				break
			}
		}
	}
	ms := int((d + time.Millisecond - 1) / time.Millisecond)
	return unix.EpollWait(e.fd, e.events, max(ms, 0))
}

func (e *epoll) serve(ev unix.EpollEvent) {
	if s := e.slots[ev.Fd]; s != nil && s.gen == ev.Pad && !s.closed {
		s.handle(ev.Events)
	}
}

func (e *epoll) serveFirst() error {
	n, err := unix.EpollWait(e.first, e.urgent, 0)
	if err != nil && err != unix.EINTR {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, ev := range e.urgent[:max(n, 0)] {
		e.serve(ev)
	}
	return nil
}

func (e *epoll) tellFailed() {
	failed := e.failed
	e.failed = nil
	for _, s := range failed {
		if !s.closed {
			s.shut()
			s.handler.Closed(s.failure)
		}
	}
}

// expire gives up connections that do not open.
func (e *epoll) expire() {
	for len(e.opening) > 0 {
		s := e.opening[0]
		if !s.closed && !s.opening.IsZero() {
			if time.Since(s.opening) < dialTimeout {
				return
			}
			s.fail(fmt.Errorf("no connection within %s", dialTimeout))
		}
		e.opening[0] = nil
		e.opening = e.opening[1:]
	}
}

func (s *socket) handle(events uint32) {
	if !s.opening.IsZero() {
		s.opened()
		return
	}
	if events&unix.EPOLLOUT != 0 {
		s.flush()
	}
	gone := events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
	switch {
	case s.closed || s.failure != nil:
	case s.paused && gone: // which is reported whatever is asked for
		s.fail(unix.ECONNRESET)
	case !s.paused && (gone || events&unix.EPOLLIN != 0):
		s.read()
	}
}

func (s *socket) opened() {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	if err != nil {
		s.fail(os.NewSyscallError("connect", err))
		return
	}
	s.opening = time.Time{}
	s.handler.Opened()
	s.arm()
}

// read reads once. The descriptor does not block, so the system call is made
// without the scheduler's book-keeping for those that may.
func (s *socket) read() {
	e := s.loop
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s.fd), uintptr(unsafe.Pointer(&e.buf[0])), uintptr(len(e.buf)))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0:
		s.fail(os.NewSyscallError("read", errno))
	case n == 0:
		s.fail(io.EOF)
	default:
		s.handler.Data(e.buf[:n])
	}
}

// Write implements Conn.
func (s *socket) Write(p []byte) {
	if s.closed || s.failure != nil {
		return
	}
	if len(s.out) == 0 && s.opening.IsZero() {
		p = p[s.send(p):]
	}
	if len(p) == 0 || s.failure != nil {
		return
	}
	if len(s.out)+len(p) > maxPending {
		s.fail(errPending)
		return
	}
	s.out = append(s.out, p...)
	s.arm()
}

func (s *socket) send(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		if errno != unix.EAGAIN && errno != unix.EINTR {
			s.fail(os.NewSyscallError("write", errno))
		}
		return 0
	}
	return int(n)
}

func (s *socket) flush() {
	n := s.send(s.out)
	if n == len(s.out) {
		s.out = nil
	} else {
		s.out = s.out[n:]
	}
	s.arm()
}

// Pause implements Conn.
func (s *socket) Pause() {
	s.paused = true
	s.arm()
}

// Resume implements Conn.
func (s *socket) Resume() {
	s.paused = false
	s.arm()
}

// Close implements Conn.
func (s *socket) Close() { s.shut() }

// fail has the handler told with the next wait: not now, since it may be in the
// middle of something.
func (s *socket) fail(err error) {
	if s.closed || s.failure != nil {
		return
	}
	s.failure = err
	s.loop.failed = append(s.loop.failed, s)
}

func (s *socket) shut() {
	if s.closed {
		return
	}
	s.closed = true
	s.out = nil
	e := s.loop
	if s.slot >= 0 {
		e.slots[s.slot] = nil
		e.free = append(e.free, s.slot)
	}
	if s.fd >= 0 {
		unix.Close(s.fd) // which takes it out of the set
	}
}

func (e *epoll) close() {
	for _, s := range e.slots {
		if s != nil {
			s.shut()
		}
	}
	unix.Close(e.first)
	unix.Close(e.fd)
}

// sources are the addresses from which connections come. To one address of a
// server one of ours reaches by as many ports as the system lends, about
// 28,000; on the loopback interface there are more addresses.
type sources struct {
	loopback bool
	last     byte // 127.0.0.1 + last; 0: the system's choice
}

// maxSources is enough for half a million connections.
const maxSources = 20

func (a *sources) next() bool {
	if !a.loopback || a.last == maxSources {
		return false
	}
	a.last++
	return true
}

func (a *sources) bind(fd int) error {
	if a.last == 0 {
		return nil
	}
	// The port is chosen when connecting, so that one can serve for several
	// servers.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1 + a.last}})
}
