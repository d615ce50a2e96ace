//go:build unix

package conn

import (
	"net"
	"syscall"
)

// trier writes to a connection's descriptor without waiting. It is made once
// for a connection, so that a write makes nothing.
type trier struct {
	raw   syscall.RawConn
	p     []byte
	n     int
	err   error
	write func(fd uintptr)
}

// newTrier is nil for connections without a descriptor of their own: TLS has
// one underneath, but what is written there must be encrypted first.
func newTrier(nc net.Conn) *trier {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	t := &trier{raw: raw}
	t.write = func(fd uintptr) {
		for {
			t.n, t.err = write(int(fd), t.p)
			if t.err != syscall.EINTR {
				return
			}
		}
	}
	return t
}

// tryWrite writes what the descriptor takes at once. Going through RawConn
// keeps the runtime's own protection against a descriptor that is closed and
// used again meanwhile. Its Control is enough: what its Write does besides,
// looking at deadlines and keeping writers apart, is for writers who wait, and
// the hub sees to it that there is only one.
func (t *trier) tryWrite(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t.p = p
	err := t.raw.Control(t.write)
	t.p = nil
	switch {
	case err != nil:
		return 0, err
	case t.err == syscall.EAGAIN || t.err == syscall.ENOBUFS:
		return 0, nil
	case t.err != nil:
		return 0, t.err
	}
	return t.n, nil
}
