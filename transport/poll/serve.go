package poll

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
)

// request takes the request that has come, on the poller's goroutine: at once
// where that is possible.
func (c *parked) request(reg *poller.Conn, b []byte) (more bool) {
	if b = c.skipBreaks(b); len(b) == 0 {
		c.rest(nil, postWhole)
		return true
	}
	if b[0] == 'P' && c.h.o.Publisher != nil {
		return c.posts(reg, b)
	}
	c.breaks = 0
	decide := ""
	if !c.h.o.Logger.Enabled(context.Background(), slog.LevelDebug) { // else the handler tells of each
		var buf [maxHead]byte
		if p, ok := parsePlain(b, buf[:0]); ok {
			if known, ok := c.back.heads.find(p.head); ok && c.pollAtOnce(&p, known) {
				return true
			}
			decide = string(p.head)
		}
	}
	request := bytes.Clone(b)
	c.h.running.Go(func() { c.serve(request, decide) })
	return false
}

// pollAtOnce answers a plain request, or has it wait. Where neither can be done
// without waiting for something else, or the request is not in order, it
// reports false and has done nothing.
func (c *parked) pollAtOnce(p *plain, known head) bool {
	q := c.h.plainQuestion(p)
	if q == nil || !c.from(parkServing, parkWaiting) {
		return false
	}
	c.header, c.bare = known.lines, q.bare
	res, sub, ok := c.h.parker.PollAtOnce(&c.seat, &q.req, c)
	switch {
	case !ok:
		c.from(parkWaiting, parkServing)
	case sub == nil:
		c.Answer(res, nil)
	default:
		c.waits(sub)
	}
	return ok
}

// from changes the state where it is as expected.
func (c *parked) from(expected, state parkState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != expected {
		return false
	}
	c.state = state
	return true
}

// serve serves the request that has come, if it may be a poll. Reading is
// paused. decide is what the request would be known by, if it is a plain one.
func (c *parked) serve(request []byte, decide string) {
	r := c.parse(request)
	if r == nil {
		c.handBack(request)
		return
	}
	if c.handle(r, decide) {
		c.rest(nil, postWhole)
		c.Resume()
	}
}

// handle has the HTTP server's handler serve a request. Where it is false, the
// connection waits for an answer, or is gone.
func (c *parked) handle(r *http.Request, decide string) bool {
	w := &answer{c: c, header: make(http.Header, 4), status: http.StatusOK, decide: decide}
	if !c.run(w, r) {
		return false
	}
	if w.taken {
		c.Resume()
		return false
	}
	w.last = c.h.closing.Load()
	if !c.writeAll(w.append(nil)) {
		return false
	}
	if w.last || w.header.Get("Connection") == "close" {
		c.leave()
		return false
	}
	return true
}

// run runs the HTTP server's handler. Where that panics, the connection ends.
func (c *parked) run(w *answer, r *http.Request) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				c.h.o.Logger.Error("panic in a handler", "panic", fmt.Sprint(p), "path", r.URL.Path, "stack", string(debug.Stack()))
			}
			c.shut()
		}
	}()
	c.back.server.Handler.ServeHTTP(w, r)
	return true
}

// refused are words in a request's head with which it is not one that is
// served here: it has a body, wants another protocol, another transport, or the
// end of the connection.
var refused = [][]byte{
	[]byte("\r\ncontent-length:"), []byte("\r\ntransfer-encoding:"), []byte("\r\nupgrade:"), []byte("\r\nexpect:"),
	[]byte("\r\nconnection: close"), []byte("\r\nsec-websocket-key:"), []byte("text/event-stream"), []byte("ndjson"),
}

// parse reads one whole plain GET of a room; nil for anything else.
func (c *parked) parse(request []byte) *http.Request {
	if !bytes.HasPrefix(request, []byte("GET /rooms/")) || !oneHead(request) {
		return nil
	}
	lower := bytes.ToLower(request)
	for _, word := range refused {
		if bytes.Contains(lower, word) {
			return nil
		}
	}
	r := c.read(bytes.NewReader(request), lower)
	if r == nil || !isPoll(r.URL.Path) {
		return nil // net/http knows what to answer
	}
	return r
}

// oneHead reports whether a request is one whole head for everybody: a line that
// ended in another way than with "\r\n" could be the last one for net/http, or
// hide a word that is refused.
func oneHead(request []byte) bool {
	end := []byte("\r\n\r\n")
	n := bytes.Count(request, end[:2])
	return bytes.Index(request, end) == len(request)-len(end) && bytes.Count(request, end[:1]) == n && bytes.Count(request, end[1:2]) == n
}

// parsePost reads a publish for the handler: one that is whole, or has a body
// that goes on with behind.
func (c *parked) parsePost(request []byte, behind io.Reader) *http.Request {
	head, _, _ := bytes.Cut(request, []byte("\r\n\r\n"))
	return c.read(io.MultiReader(bytes.NewReader(request), behind), bytes.ToLower(head))
}

// read reads a request, nil for one that the HTTP server would refuse. lower is
// its head in lower case.
func (c *parked) read(from io.Reader, lower []byte) *http.Request {
	r, err := http.ReadRequest(bufio.NewReaderSize(from, 512))
	if err != nil || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.Close || namesClose(r.Header["Connection"]) || !plainHost(r.Host) || bytes.Count(lower, []byte("\r\nhost:")) != 1 {
		return nil
	}
	for name := range r.Header {
		if !plainName(name) {
			return nil // ReadRequest leaves this to the server
		}
	}
	r.RemoteAddr = c.Conn().RemoteAddr().String()
	ctx := context.WithValue(context.Background(), http.ServerContextKey, c.back.server)
	return r.WithContext(context.WithValue(ctx, http.LocalAddrContextKey, c.Conn().LocalAddr()))
}

// plainHost reports whether nobody would refuse a Host.
func plainHost(host string) bool {
	for i := range len(host) {
		if c := host[i]; !inRooms[c] && c != '[' && c != ']' || c == '@' || c == ',' || c == '~' {
			return false
		}
	}
	return host != ""
}

// plainName reports whether nobody would refuse a header's name, or take it for
// another one: "Content-Length " is a name for ReadRequest, and the length of a
// body for others.
func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// namesClose reports whether a Connection has anything of "close" in it: where
// that is no element of its list, ReadRequest does not see it, but the server
// does.
func namesClose(connection []string) bool {
	for _, value := range connection {
		if strings.Contains(strings.ToLower(value), "close") {
			return true
		}
	}
	return false
}

// isPoll reports the paths that may be a poll.
func isPoll(path string) bool {
	rooms, last, more := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(path, "/rooms/"), "/"), "/")
	return rooms != "" && (!more || last == "poll")
}

// handBack gives the connection to the HTTP server, as if it were new and had
// sent the request only now.
func (c *parked) handBack(request []byte) {
	c.mu.Lock()
	gone := c.state == parkClosed
	c.state = parkClosed
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	c.h.returning.Add(1)
	if gone || !c.Release() {
		c.h.returning.Add(-1)
		c.Close()
		return
	}
	nc, err := conn.Restore(c.Conn())
	if err != nil {
		c.h.returning.Add(-1)
		return
	}
	c.back.push(&prefixed{Conn: nc, prefix: request, need: c.need})
}
