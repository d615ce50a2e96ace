//go:build unix

package conn

import (
	"net"
	"sync"
	"syscall"
)

// rawOf is nil for connections without a descriptor of their own: TLS has one
// underneath, but what is written there must be encrypted first.
func rawOf(nc net.Conn) syscall.RawConn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return lightOf(nc)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// trial is one write that does not wait. Trials are used again for whatever
// connection comes next: one for each connection would be memory that is in no
// cache by the time of its next write.
type trial struct {
	p   []byte
	n   int
	err error
	do  func(fd uintptr) // write, made once
}

var trials = sync.Pool{New: func() any {
	t := new(trial)
	t.do = t.write
	return t
}}

func (t *trial) write(fd uintptr) {
	t.n, t.err = writeAgain(int(fd), t.p)
}

// writeAgain is write, once more where a signal came first.
func writeAgain(fd int, p []byte) (n int, err error) {
	for {
		if n, err = write(fd, p); err != syscall.EINTR {
			return n, err
		}
	}
}

// tryWrite writes what the descriptor takes at once. Going through RawConn
// keeps the runtime's own protection against a descriptor that is closed and
// used again meanwhile. Its Control is enough: what its Write does besides,
// looking at deadlines and keeping writers apart, is for writers who wait, and
// the hub sees to it that there is only one.
func tryWrite(raw syscall.RawConn, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if l := lightIn(raw); l != nil {
		return l.try(p)
	}
	t := trials.Get().(*trial)
	t.p = p
	err := raw.Control(t.do)
	n, writing := t.n, t.err
	t.p, t.err = nil, nil
	trials.Put(t)
	if err != nil {
		return 0, err
	}
	return tried(n, writing)
}

// tried is the outcome of a write to those who do not wait.
func tried(n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case syscall.EAGAIN, syscall.ENOBUFS:
		return 0, nil
	}
	return 0, err
}
