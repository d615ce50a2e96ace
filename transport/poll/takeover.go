package poll

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"

	"github.com/culvertd/culvert/transport/poller"
)

// Publishes are read here only where that is worth it: on a connection that
// keeps coming with them. Taking one over and giving it back costs more than
// serving a request, so one that came back has to publish twice as often before
// it is taken over again.
const (
	firstNeed = 2
	lastNeed  = 1 << 10
)

// kept is what is known of a connection that the HTTP server has. It is used by
// the connection's own goroutine only.
type kept struct {
	publishes int   // since the HTTP server has it
	need      int16 // of them, to be taken over
}

// keptKey is where a request's context has its connection's kept.
type keptKey struct{}

// ConnContext is for the field of that name of the http.Server: without it
// connections are not taken over for their publishes.
func (p *Handler) ConnContext(ctx context.Context, nc net.Conn) context.Context {
	k := &kept{need: firstNeed}
	if back, ok := nc.(*prefixed); ok {
		nc, k.need = back.Conn, max(back.need, firstNeed)
	}
	if p.o.Publisher == nil || p.o.Poller == nil || !p.o.Poller.Native(nc) {
		return ctx
	}
	return context.WithValue(ctx, keptKey{}, k)
}

// TakesOver is asked once for each publish that the HTTP server's handler has
// carried out, before it is answered. Where it is true, Published answers.
func (p *Handler) TakesOver(r *http.Request) bool {
	k, ok := r.Context().Value(keptKey{}).(*kept)
	if !ok {
		return false
	}
	if k.publishes++; k.publishes < int(k.need) || p.closing.Load() || !p.publishing() ||
		r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.Close || r.TLS != nil || r.ContentLength <= 0 || r.ContentLength > maxPost/2 {
		return false
	}
	// Those that follow are likely to be of the same form.
	for name := range r.Header {
		if kind := kindOf([]byte(name + ":")); kind == lineRefused && name != "Content-Length" {
			return false
		}
	}
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	return ok && server != nil
}

// Published answers a publish, and takes its connection over.
func (p *Handler) Published(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	// Before the HTTP server forgets that it has a request under way.
	p.serving.add(1)
	defer p.serving.add(-1)
	header := w.Header().Clone()
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(status)
		w.Write(body)
		return
	}
	behind := make([]byte, brw.Reader.Buffered())
	io.ReadFull(brw.Reader, behind)
	if again, ok := nc.(*prefixed); ok {
		nc, behind = again.Conn, append(behind, again.prefix...)
	}
	c := p.newParked(r, nc)
	c.need = min(2*c.need, lastNeed)
	c.reads, c.breaks = p.nextPublishing(), maxBreaks
	c.from(parkWaiting, parkServing)
	a := &answer{c: c, header: header, status: status, body: body}
	if c.writeAll(a.append(nil)) {
		c.begin(behind)
	}
}

// begin serves what had come behind the first request, and begins to read.
func (c *parked) begin(behind []byte) {
	c.startTimer()
	c.work(behind)
	c.mu.Lock()
	gone := c.state == parkClosed
	c.mu.Unlock()
	if !gone {
		c.Poll(c.poller(), c)
	}
}

// publishers is a poller of connections that publish, and what is gathered in
// one of its rounds.
type publishers struct {
	*poller.Poller
	round round
}

// nextPublishing chooses the poller of a connection that publishes. They are
// several, so that publishing is not bound to a core, and not the one that all
// other connections have, so that these do not wait for the store's locks.
func (p *Handler) nextPublishing() *publishers {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.publishers == nil {
		p.publishers = make([]*publishers, (runtime.GOMAXPROCS(0)+1)/2)
		for i := range p.publishers {
			pl := &publishers{round: round{h: p}}
			pl.Poller = poller.NewRounds(pl.round.end)
			p.publishers[i] = pl
		}
	}
	p.turn++
	return p.publishers[p.turn%len(p.publishers)]
}

// poller is what reads the connection.
func (c *parked) poller() *poller.Poller {
	if c.reads != nil {
		return c.reads.Poller
	}
	return c.h.o.Poller
}

// Learned notes the answer of a publish that came over a connection that was
// taken over and was carried out, once it is written: the next one of which the
// same decides would get the same header lines. strict says that its body had to
// be JSON.
func (p *Handler) Learned(w http.ResponseWriter, strict bool) {
	a := answerOf(w)
	if a == nil || a.decide == "" || a.header.Get("Content-Length") != "" {
		return
	}
	a.c.back.heads.remember(a.decide, head{lines: headerLines(a), header: a.header.Clone(), strict: strict})
}
