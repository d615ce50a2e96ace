package server

import (
	"crypto/tls"
	"net"
	"runtime"
	"sync"
	"time"
)

// Handshakes is how many connections may have been accepted without their first
// request having begun, where Options do not say.
const Handshakes = 32

// admitPatience is how long new connections are waited for. Those that have
// said nothing by then count no more, so that silent clients cannot keep others
// out: at the worst Handshakes of them come in each such time.
const admitPatience = time.Millisecond

// admission bounds how many connections begin at once. When thousands of
// clients come back together, each accepted one is a goroutine that waits for a
// processor, and a publish on an old connection would wait behind them all. The
// others are better off in the kernel's queue, which costs nobody anything.
type admission struct {
	most int
	room chan struct{} // says that there may be room; holds one

	mu    sync.Mutex
	fresh map[net.Conn]struct{} // guarded by mu: accepted, without a request yet
}

func newAdmission(most int) *admission {
	if most <= 0 {
		most = Handshakes
	}
	return &admission{most: most, room: make(chan struct{}, 1), fresh: make(map[net.Conn]struct{})}
}

// wait returns when another connection may be accepted.
func (a *admission) wait() {
	// What is ready to run on old connections goes first.
	runtime.Gosched()
	if !a.full() {
		return
	}
	patience := time.NewTimer(admitPatience)
	defer patience.Stop()
	for a.full() {
		select {
		case <-a.room:
		case <-patience.C:
			a.mu.Lock()
			clear(a.fresh)
			a.mu.Unlock()
		}
	}
}

func (a *admission) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.fresh) >= a.most
}

// accepted counts a connection in.
func (a *admission) accepted(c net.Conn) {
	a.mu.Lock()
	a.fresh[c] = struct{}{}
	a.mu.Unlock()
}

// begun counts it out: its first request is being served, or it has ended.
func (a *admission) begun(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	a.mu.Lock()
	_, was := a.fresh[c]
	delete(a.fresh, c)
	a.mu.Unlock()
	if was {
		select {
		case a.room <- struct{}{}:
		default:
		}
	}
}
