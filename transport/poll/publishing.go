package poll

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/publish"
)

// Publisher publishes what plain requests on connections that were taken over
// want published.
type Publisher interface {
	// PublishPlain publishes one message; strict is for JSON. Status and body,
	// appended to dst, are those of the HTTP server's handler. Where the request
	// is not in order it has done nothing, and ok is false.
	PublishPlain(o publish.One, body []byte, strict bool, dst []byte) (status int, answer []byte, e *codes.Error, ok bool)
	// Prompt reports whether PublishPlain never waits: the poller's goroutine
	// calls it then.
	Prompt() bool
	// Hold may let what is published wait for Release, which follows soon, and
	// has it delivered.
	Hold()
	Release()
}

// maxParts is in how many pieces a request may come that is read here.
const maxParts = 8

// publishing reports whether publishes are read here at all. Of a logger that
// wants to hear of each the handler knows.
func (p *Handler) publishing() bool {
	return p.o.Publisher != nil && !p.o.Logger.Enabled(context.Background(), slog.LevelDebug)
}

// posts serves what has come, on the poller's goroutine: the publishes that it
// begins with, where they need not wait.
func (c *parked) posts(reg *poller.Conn, b []byte) (more bool) {
	if !c.h.o.Publisher.Prompt() {
		request := bytes.Clone(b)
		c.h.work(func() { c.work(request) })
		return false
	}
	rounds := c.reads != nil && reg.Native()
	if rounds {
		c.reads.round.hold()
	}
	buf := c.h.buffers.Get().(*[]byte)
	out, rest, found, last := c.publishAll((*buf)[:0], b)
	if rounds && found == postWhole && !last {
		c.reads.round.add(c, buf, out)
		return true
	}
	return c.answer(buf, out, rest, found, last)
}

// answer writes answers, which are in buf, and goes on with what is left: found
// is of rest, as publishAll says.
func (c *parked) answer(buf *[]byte, out, rest []byte, found posted, last bool) (more bool) {
	n, err := c.TryWrite(out)
	if err != nil {
		c.shut()
		return false
	}
	if n < len(out) {
		// The writer takes the buffer with it, and goes on with what is left.
		return c.later(out[n:], rest, last)
	}
	if cap(out) <= maxPooled {
		*buf = out
		c.h.buffers.Put(buf)
	}
	switch {
	case last:
		c.leave()
		return false
	case found == postWhole:
		c.rest(nil, found)
		return true
	case found == postBegun || found == postHead:
		if c.parts++; c.parts < maxParts {
			c.rest(bytes.Clone(rest), found)
			return true
		}
	}
	request := bytes.Clone(rest)
	c.h.work(func() { c.work(request) })
	return false
}

// publishAll carries out the publishes that b begins with and appends their
// answers to dst. found is of the rest: postWhole where there is none. last says
// that the connection ends behind the answers.
func (c *parked) publishAll(dst, b []byte) (answers, rest []byte, found posted, last bool) {
	for {
		if b = c.skipBreaks(b); len(b) == 0 {
			return dst, nil, postWhole, false
		}
		var head [maxHead]byte
		p, found := parsePost(b, head[:0])
		if found != postWhole {
			return dst, b, found, false
		}
		c.parts = 0
		known, ok := c.back.heads.find(p.head)
		if !ok || !c.h.publishing() {
			return dst, b, postUnknown, false
		}
		if dst, last, ok = c.publish(dst, &p, known); !ok {
			return dst, b, postUnknown, false
		}
		c.breaks = maxBreaks
		if b = b[p.size:]; last {
			return dst, nil, postWhole, true
		}
	}
}

// maxBreaks is how many bytes of line breaks behind a publish mean nothing: as
// many as with the HTTP server.
const maxBreaks = 4

// skipBreaks drops the line breaks that some clients send behind the body of a
// POST, and do not count to it.
func (c *parked) skipBreaks(b []byte) []byte {
	for c.breaks > 0 && len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
		c.breaks--
	}
	return b
}

// publish carries out one publish and appends the answer to dst, which is the
// last one or not. Where the request is not in order it reports false and has
// done nothing.
func (c *parked) publish(dst []byte, p *post, known head) (answers []byte, last, ok bool) {
	// In one piece: nothing of it is needed for long.
	text := string(append(append(append(make([]byte, 0, 256), p.room...), p.key...), p.query...))
	room, key := len(p.room), len(p.room)+len(p.key)
	o := publish.One{Room: text[:room], Key: text[room:key], Query: text[key:], Keyed: p.keyed}
	pooled := c.h.buffers.Get().(*[]byte)
	status, body, e, ok := c.h.o.Publisher.PublishPlain(o, p.body, known.strict, (*pooled)[:0])
	last = c.h.closing.Load()
	switch {
	case !ok:
	case e != nil:
		w := &answer{header: known.header.Clone(), last: last}
		e.WriteHTTP(w)
		dst = w.append(dst)
	default:
		dst = append(dst, "HTTP/1.1 "...)
		dst = strconv.AppendInt(dst, int64(status), 10)
		dst = append(dst, ' ')
		dst = append(dst, http.StatusText(status)...)
		dst = append(dst, "\r\n"...)
		dst = append(dst, known.lines...)
		dst = append(dst, c.h.dateLine(time.Now())...)
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
		if last {
			dst = append(dst, "\r\nConnection: close"...)
		}
		dst = append(dst, "\r\n\r\n"...)
		dst = append(dst, body...)
	}
	if cap(body) <= maxPooled {
		*pooled = body
		c.h.buffers.Put(pooled)
	}
	return dst, last, ok
}

// later has answers written that the connection did not take at once. What came
// behind the requests is served after that; reading pauses where there is any.
func (c *parked) later(answers, behind []byte, last bool) (more bool) {
	c.mu.Lock()
	if c.state != parkServing {
		c.mu.Unlock()
		return false
	}
	c.state = parkWriting
	if len(behind) > 0 {
		c.next = bytes.Clone(behind)
	}
	c.mu.Unlock()
	c.h.work(func() { c.writeOn(answers, last) })
	return len(behind) == 0
}

// work serves what has come, on a goroutine of its own. Reading is paused.
func (c *parked) work(b []byte) {
	for len(b) > 0 {
		out, rest, found, last := c.publishAll(nil, b)
		if len(out) > 0 && !c.writeAll(out) {
			return
		}
		if last {
			c.leave()
			return
		}
		switch found {
		case postBegun, postHead:
			if c.parts++; c.parts < maxParts {
				c.rest(rest, found)
				c.Resume()
				return
			}
			c.handBack(rest)
			return
		case postOther:
			c.breaks = 0
			c.serve(rest, "")
			return
		case postUnknown:
			var head [maxHead]byte
			p, _ := parsePost(rest, head[:0])
			r := c.parsePost(rest[:p.size], nothing)
			if r == nil {
				c.handBack(rest)
				return
			}
			if !c.handle(r, string(p.head)) {
				return
			}
			rest, c.breaks = rest[p.size:], maxBreaks
		}
		b = rest
	}
	c.rest(nil, postWhole)
	c.Resume()
}

// writeAll writes, and waits for it. Where it is false, the connection is gone.
func (c *parked) writeAll(b []byte) bool {
	end := time.Now().Add(c.h.answerTimeout)
	for len(b) > 0 {
		piece := b[:min(len(b), writePiece)]
		deadline := time.Now().Add(c.h.writeTimeout)
		if deadline.After(end) {
			deadline = end
		}
		c.SetWriteDeadline(deadline)
		if _, err := c.Write(piece); err != nil {
			c.shut()
			return false
		}
		b = b[len(piece):]
	}
	c.SetWriteDeadline(time.Time{})
	return true
}
