package hub_test

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// textFraming writes an event as one line: room:kind:offset:data.
type textFraming struct{ cursors bool }

func (f textFraming) Append(dst []byte, ev *hub.Event) []byte {
	dst = append(dst, ev.Room...)
	switch ev.Kind {
	case hub.EventMessage:
		dst = append(dst, " msg "...)
		dst = strconv.AppendUint(dst, ev.Message.Offset, 10)
		dst = append(dst, ' ')
		dst = append(dst, ev.Message.Data...)
	case hub.EventGap:
		dst = append(dst, " gap "...)
		dst = append(dst, ev.Gap.Reason...)
		dst = append(dst, ' ')
		dst = append(dst, ev.Gap.To.String()...)
	case hub.EventPresence:
		dst = append(dst, " presence "...)
		dst = strconv.AppendBool(dst, ev.Presence.Join)
		dst = append(dst, ' ')
		dst = append(dst, ev.Presence.Member.Client...)
	}
	return append(dst, '\n')
}

func (f textFraming) CursorInFrame() bool { return f.cursors }

func (f textFraming) AppendWithCursor(dst, wire, cursor []byte) []byte {
	dst = append(dst, cursor...)
	dst = append(dst, '|')
	return append(dst, wire...)
}

func (f textFraming) AppendHeartbeat(dst []byte, _ int64, cursor []byte) []byte {
	dst = append(dst, "heartbeat "...)
	dst = append(dst, cursor...)
	return append(dst, '\n')
}

func (f textFraming) AppendEnd(dst []byte, end hub.End, cursor []byte) []byte {
	dst = append(dst, "end "...)
	dst = append(dst, end.Code...)
	dst = append(dst, ' ')
	dst = append(dst, cursor...)
	return append(dst, '\n')
}

var testForms = []hub.Framing{textFraming{}, textFraming{cursors: true}}

// bufConn is a connection that takes what its room allows: limit bytes may be
// unread. It tells whether two goroutines ever write at once.
type bufConn struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      []byte
	all      strings.Builder
	limit    int // unread bytes that fit; 0 for any number
	tries    bool
	frozen   bool
	closed   bool
	deadline time.Time
	timer    *time.Timer
	writing  bool
	overlap  bool
}

func newBufConn(tries bool, limit int) *bufConn {
	c := &bufConn{tries: tries, limit: limit}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *bufConn) room() int {
	if c.frozen {
		return 0
	}
	if c.limit == 0 {
		return 1 << 30
	}
	return c.limit - len(c.buf)
}

func (c *bufConn) TryWrite(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing {
		c.overlap = true
	}
	if c.closed {
		return 0, io.ErrClosedPipe
	}
	if !c.tries {
		return 0, nil
	}
	n := min(len(p), c.room())
	c.put(p[:n])
	return n, nil
}

func (c *bufConn) put(p []byte) {
	c.buf = append(c.buf, p...)
	c.cond.Broadcast()
}

func (c *bufConn) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing {
		c.overlap = true
	}
	c.writing = true
	defer func() { c.writing = false }()
	for len(p) > 0 {
		if c.closed {
			return n, io.ErrClosedPipe
		}
		if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
			return n, os.ErrDeadlineExceeded
		}
		k := min(len(p), c.room())
		if k <= 0 {
			c.cond.Wait()
			continue
		}
		c.put(p[:k])
		p, n = p[k:], n+k
	}
	return n, nil
}

func (c *bufConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if !t.IsZero() {
		c.timer = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			c.cond.Broadcast()
			c.mu.Unlock()
		})
	}
	return nil
}

func (c *bufConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.cond.Broadcast()
	return nil
}

func (c *bufConn) freeze(on bool) {
	c.mu.Lock()
	c.frozen = on
	c.cond.Broadcast()
	c.mu.Unlock()
}

// read takes what is there.
func (c *bufConn) read(max int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.buf)
	if max > 0 {
		n = min(n, max)
	}
	s := string(c.buf[:n])
	c.buf = append(c.buf[:0], c.buf[n:]...)
	c.all.WriteString(s)
	c.cond.Broadcast()
	return s
}

// text is everything that was ever taken, the unread included.
func (c *bufConn) text() string {
	c.read(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all.String()
}

func (c *bufConn) check(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overlap {
		t.Error("two goroutines wrote to the connection at once")
	}
}

// lines splits what a connection got.
func lines(s string) []string {
	s = strings.TrimSuffix(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// one publishes one message and fails the test if it was not taken.
func one(t testing.TB, h *hub.Hub, room, data string) hub.Result {
	t.Helper()
	res := h.Publish(context.Background(), []hub.Publish{{Room: room, Data: []byte(data)}})[0]
	if res.Err != nil {
		t.Fatalf("publish into %s: %v", room, res.Err)
	}
	return res
}
