package middlebox

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

var errForgotten = errors.New("middlebox: the connection is forgotten")

// link is a client's connection and the upstream connection that serves its
// present request.
type link struct {
	// Set once.
	box     *Box
	client  net.Conn // a tap
	options *Options // those for whole connections
	ctx     context.Context
	cancel  context.CancelFunc // ends everything in this link
	timers  []*time.Timer

	mu      sync.Mutex
	raw     []net.Conn // guarded by mu; what close closes
	frozen  bool       // guarded by mu
	touched time.Time  // guarded by mu; the last byte
	down    int64      // guarded by mu; bytes to the client
	shut    bool       // guarded by mu
}

func newLink(b *Box, c net.Conn) *link {
	l := &link{box: b, raw: []net.Conn{c}, touched: time.Now(), options: b.options.Load()}
	l.ctx, l.cancel = context.WithCancel(b.ctx)
	l.client = &tap{Conn: c, link: l}
	if t := l.options.ForgetAfter; t > 0 {
		l.timers = append(l.timers, time.AfterFunc(t, l.freeze))
	}
	if t := l.options.IdleTimeout; t > 0 {
		// Made stopped, so that the timer is in the link before it can fire.
		timer := time.AfterFunc(time.Hour, func() { l.idle(t) })
		l.timers = append(l.timers, timer)
		timer.Reset(t)
	}
	return l
}

// idle runs when the connection may have been idle for t.
func (l *link) idle(t time.Duration) {
	l.mu.Lock()
	left := t - time.Since(l.touched)
	ended := l.shut || l.frozen
	l.mu.Unlock()
	switch {
	case ended:
	case left > 0:
		l.timers[len(l.timers)-1].Reset(left)
	case l.options.IdleForget:
		l.freeze()
	default:
		l.close()
	}
}

// dial opens an upstream connection that ends with the link.
func (l *link) dial(address string) (net.Conn, error) {
	c, err := l.box.dial(l.ctx, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.raw = append(l.raw, c)
	return &tap{Conn: c, link: l}, nil
}

// drop closes an upstream connection whose request is over, unless the link is
// forgotten: the server must not hear of it then.
func (l *link) drop(c net.Conn) {
	t, ok := c.(*tap)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen {
		return
	}
	for i, known := range l.raw {
		if known == t.Conn {
			l.raw = append(l.raw[:i], l.raw[i+1:]...)
			break
		}
	}
	_ = t.Conn.Close()
}

func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

func (l *link) isFrozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frozen
}

// hang waits, in a link that is forgotten, until it is closed.
func (l *link) hang() { <-l.ctx.Done() }

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	for _, t := range l.timers {
		t.Stop()
	}
	for _, c := range l.raw {
		_ = c.Close()
	}
	l.raw = nil
	l.cancel()
}

// reset closes the connections so that the peers get a reset, not an end.
func (l *link) reset() {
	l.mu.Lock()
	for _, c := range l.raw {
		if c, ok := c.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
	}
	l.mu.Unlock()
	l.close()
}

// sleep waits for d; false: the link ended first.
func (l *link) sleep(d time.Duration) bool {
	if d <= 0 {
		return l.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// tap is one end of a link: it notes traffic, and holds everything back once
// the link is forgotten.
type tap struct {
	net.Conn
	link *link
}

func (t *tap) pass() error {
	if t.link.isFrozen() {
		t.link.hang()
		return errForgotten
	}
	return nil
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if frozen := t.pass(); frozen != nil {
		return 0, frozen
	}
	if n > 0 {
		t.link.touch()
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	if err := t.pass(); err != nil {
		return 0, err
	}
	t.link.touch()
	return t.Conn.Write(p)
}

func (l *link) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touched = time.Now()
}

// allow counts bytes to the client and returns how many of n may go; fewer
// means that the connection is to be reset after them.
func (l *link) allow(n int) int {
	if l.options.KillAtBytes == 0 {
		return n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	may := int(min(int64(n), l.options.KillAtBytes-l.down))
	l.down += int64(may)
	return may
}

// containsToken: list is a header's value, with items between commas.
func containsToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(item), token) {
			return true
		}
	}
	return false
}
