package conn

import (
	"net"
	"syscall"
	"time"
)

const (
	tcpUserTimeout  = 18 // TCP_USER_TIMEOUT, which package syscall does not name
	tcpNotSentLowat = 25 // TCP_NOTSENT_LOWAT, likewise
)

// tune bounds what a connection holds in the kernel and how long it may go
// without an acknowledgement. The system may refuse any of it: the connection
// works all the same.
func tune(nc net.Conn, t Tuning) {
	raw := rawOf(nc)
	if raw == nil {
		return
	}
	raw.Control(func(fd uintptr) {
		set := func(level, option, value int) { _ = syscall.SetsockoptInt(int(fd), level, option, value) }
		if t.SendBuffer > 0 {
			set(syscall.SOL_SOCKET, syscall.SO_SNDBUF, t.SendBuffer)
		}
		if t.UserTimeout > 0 {
			set(syscall.IPPROTO_TCP, tcpUserTimeout, int(t.UserTimeout/time.Millisecond))
		}
		if t.NotSentLowat > 0 {
			set(syscall.IPPROTO_TCP, tcpNotSentLowat, t.NotSentLowat)
		}
	})
}
