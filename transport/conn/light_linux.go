package conn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// light is a TCP connection in a sixth of the memory that package net takes for
// one: a descriptor, and what keeps it from being used when it is closed. It is
// meant for connections that a poller reads and that hardly ever have to wait
// with a write; where one does, the runtime's poller gets a descriptor of the
// same connection for as long as that lasts.
type light struct {
	// users is two for each call that uses the descriptor, and one more once the
	// connection is closed: the last to leave closes the descriptor. It is an
	// atomic and not a lock so that what was done in one use is seen in the next.
	users atomic.Int32
	fd    int32 // set once

	mu    sync.Mutex
	slow  *os.File // guarded by mu; while somebody waits
	until int64    // write deadline, in Unix nanoseconds, 0 for none; guarded by mu
}

// Lighten returns the same connection with less around it, or nc itself where
// that is not possible. nc is closed and must not be used any more.
func Lighten(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	fd := -1
	if raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }) != nil || err != nil {
		return nc // no descriptor is free, for one
	}
	tcp.Close()
	return &light{fd: int32(fd)}
}

// Restore undoes Lighten, for those who wait for what comes: they go by the
// runtime's poller. Where it fails the connection is closed; nc must not be used
// any more in any case.
func Restore(nc net.Conn) (net.Conn, error) {
	l, ok := nc.(*light)
	if !ok {
		return nc, nil
	}
	defer l.Close()
	fd, err := -1, error(nil)
	if closed := l.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); closed != nil {
		return nil, closed
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	return net.FileConn(f)
}

// enter is false when the connection is closed; else leave must follow.
func (l *light) enter() bool {
	for {
		n := l.users.Load()
		if n&1 != 0 {
			return false
		}
		if l.users.CompareAndSwap(n, n+2) {
			return true
		}
	}
}

func (l *light) leave() {
	if l.users.Add(-2) == 1 {
		unix.Close(int(l.fd))
	}
}

// Control implements syscall.RawConn: the descriptor is not closed, nor its
// number used for something else, while f runs.
func (l *light) Control(f func(fd uintptr)) error {
	if !l.enter() {
		return net.ErrClosed
	}
	defer l.leave()
	f(uintptr(l.fd))
	return nil
}

// try is tryWrite without the detour by which others reach a descriptor.
func (l *light) try(p []byte) (int, error) {
	if !l.enter() {
		return 0, net.ErrClosed
	}
	n, err := writeAgain(int(l.fd), p)
	l.leave()
	return tried(n, err)
}

// Read implements net.Conn, and waits.
func (l *light) Read(p []byte) (int, error) {
	f, err := l.waiting()
	if err != nil {
		return 0, err
	}
	n, err := f.Read(p)
	return n, plain(err)
}

// Write implements net.Conn: what goes at once, and the rest waiting.
func (l *light) Write(p []byte) (n int, err error) {
	for n < len(p) {
		var m int
		if m, err = tryWrite(lightRaw{l}, p[n:]); err != nil {
			return n, err
		}
		if n += m; m == 0 {
			break
		}
	}
	if n == len(p) {
		return n, nil
	}
	f, err := l.waiting()
	if err != nil {
		return n, err
	}
	m, err := f.Write(p[n:])
	return n + m, plain(err)
}

// waiting is the connection for who waits.
func (l *light) waiting() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.enter() {
		return nil, net.ErrClosed
	}
	defer l.leave()
	if l.slow != nil {
		return l.slow, nil
	}
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	l.slow = os.NewFile(uintptr(fd), "connection")
	if l.until != 0 {
		return l.slow, l.slow.SetWriteDeadline(time.Unix(0, l.until))
	}
	return l.slow, nil
}

// plain is an error of a file as one of a connection.
func plain(err error) error {
	var path *os.PathError
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, os.ErrClosed):
		return net.ErrClosed
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// SetWriteDeadline bounds Write. Without a bound nobody waits, so what was there
// for that goes.
func (l *light) SetWriteDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users.Load()&1 != 0 {
		return net.ErrClosed
	}
	if t.IsZero() {
		l.until = 0
		if f := l.slow; f != nil {
			l.slow = nil
			return f.Close()
		}
		return nil
	}
	l.until = t.UnixNano()
	if l.slow != nil {
		return l.slow.SetWriteDeadline(t)
	}
	return nil
}

// SetReadDeadline bounds Read.
func (l *light) SetReadDeadline(t time.Time) error {
	f, err := l.waiting()
	if err != nil {
		return err
	}
	return f.SetReadDeadline(t)
}

// SetDeadline is both.
func (l *light) SetDeadline(t time.Time) error {
	return errors.Join(l.SetWriteDeadline(t), l.SetReadDeadline(t))
}

// Close closes the connection, and makes who waits return.
func (l *light) Close() error {
	for {
		n := l.users.Load()
		if n&1 != 0 {
			return net.ErrClosed
		}
		if !l.users.CompareAndSwap(n, n+1) {
			continue
		}
		if n == 0 {
			unix.Close(int(l.fd))
		}
		break
	}
	l.mu.Lock() // nobody begins to wait any more
	slow := l.slow
	l.slow = nil
	l.mu.Unlock()
	if slow != nil {
		return slow.Close()
	}
	return nil
}

// CloseWrite tells the peer that nothing follows.
func (l *light) CloseWrite() error {
	var err error
	if closed := l.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) }); closed != nil {
		return closed
	}
	return os.NewSyscallError("shutdown", err)
}

// LocalAddr and RemoteAddr ask the system: nobody does so often.
func (l *light) LocalAddr() net.Addr  { return l.address(unix.Getsockname) }
func (l *light) RemoteAddr() net.Addr { return l.address(unix.Getpeername) }

func (l *light) address(ask func(fd int) (unix.Sockaddr, error)) net.Addr {
	var of unix.Sockaddr
	l.Control(func(fd uintptr) { of, _ = ask(int(fd)) })
	switch a := of.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return &net.TCPAddr{}
}

// SyscallConn implements syscall.Conn.
func (l *light) SyscallConn() (syscall.RawConn, error) { return lightRaw{l}, nil }

// lightRaw is a light connection as a syscall.RawConn.
type lightRaw struct{ *light }

// Read calls f until it is done, waiting for what there is to read in between.
func (r lightRaw) Read(f func(fd uintptr) (done bool)) error { return r.try(f, syscall.RawConn.Read) }

// Write calls f until it is done, waiting for room in between.
func (r lightRaw) Write(f func(fd uintptr) (done bool)) error { return r.try(f, syscall.RawConn.Write) }

func (r lightRaw) try(f func(uintptr) bool, wait func(syscall.RawConn, func(uintptr) bool) error) error {
	done := false
	if err := r.Control(func(fd uintptr) { done = f(fd) }); err != nil || done {
		return err
	}
	slow, err := r.waiting()
	if err != nil {
		return err
	}
	raw, err := slow.SyscallConn()
	if err != nil {
		return plain(err)
	}
	return plain(wait(raw, f))
}

// lightIn is the light connection of a descriptor, nil where it is none.
func lightIn(raw syscall.RawConn) *light {
	r, ok := raw.(lightRaw)
	if !ok {
		return nil
	}
	return r.light
}

// near reads what try looks at.
func (l *light) near() { l.users.Load() }

// lightOf is the descriptor of a light connection, nil where it is none.
func lightOf(nc net.Conn) syscall.RawConn {
	if l, ok := nc.(*light); ok {
		return lightRaw{l}
	}
	return nil
}
