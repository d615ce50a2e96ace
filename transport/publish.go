package transport

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// scratch is what one publish needs for a moment and the next one can use
// again: the body as it came, what it asks for, and the answer.
type scratch struct {
	body, answer []byte
	batch        [1]hub.Publish
}

// maxScratch is the largest buffer that is kept for the next publish.
const maxScratch = 128 << 10

func (s *Server) takeScratch() *scratch { return s.scratch.Get().(*scratch) }

func (s *Server) giveScratch(sc *scratch) {
	if cap(sc.body) <= maxScratch && cap(sc.answer) <= maxScratch {
		clear(sc.batch[:]) // it must not keep the message alive
		s.scratch.Put(sc)
	}
}

// publishOne serves POST /rooms/{room}.
func (s *Server) publishOne(c *gin.Context) {
	sc := s.takeScratch()
	defer s.giveScratch(sc)
	r, batch := c.Request, sc.batch[:]
	if e := s.parsePublish(c, sc, &batch[0]); e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	status, body, e := s.publish(batch, sc.answer[:0])
	if e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	sc.answer = body
	if s.poll.TakesOver(r) {
		h := c.Writer.Header()
		h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
		s.handOver(c, func(w http.ResponseWriter, r *http.Request) { s.poll.Published(w, r, status, body) })
		return
	}
	writePublished(c.Writer, status, body)
	s.poll.Learned(c.Writer, isJSON(r))
}

// publish publishes the one message of a batch, and appends the body of the
// answer to dst.
func (s *Server) publish(batch []hub.Publish, dst []byte) (status int, answer []byte, e *codes.Error) {
	// A client that goes away does not stop its publish half-way: it will want
	// to know what became of it.
	ctx := newDeadline(s.o.PublishTimeout)
	result := &s.hub.Publish(ctx, batch)[0]
	ctx.end()
	if result.Err != nil {
		e := publish.Failed(result.Err, batch[0].Key)
		s.faults.note(http.MethodPost, "/rooms/"+batch[0].Room, e, result.Err)
		return 0, dst, e
	}
	dst = append(dst, '{')
	dst = wire.AppendPublished(dst, batch[0].Room, batch[0].ID, result)
	return publish.Status(result), append(dst, '}', '\n'), nil
}

// parsePublish reads what POST /rooms/{room} wants published.
func (s *Server) parsePublish(c *gin.Context, sc *scratch, p *hub.Publish) (e *codes.Error) {
	r := c.Request
	o := publish.One{Room: c.Param("rooms"), Query: r.URL.RawQuery}
	if keys := r.Header["Idempotency-Key"]; len(keys) > 0 {
		o.Key, o.Keyed = keys[0], true
	}
	keyed, e := publish.ParseOne(p, o)
	if e != nil {
		return e
	}
	body, e := read.Body(r, sc.body, s.o.Publishing.Message, codes.MessageTooLarge)
	if e != nil {
		return e
	}
	sc.body = body
	return publish.ParseBody(p, body, isJSON(r), keyed)
}

// plainPublisher is the server as poll.Publisher.
type plainPublisher struct {
	*Server
	prompt bool
	holder holder // nil for a hub that cannot
}

// holder is a hub that holds delivery.
type holder interface {
	HoldDelivery()
	ReleaseDelivery()
}

// Hold implements poll.Publisher.
func (s plainPublisher) Hold() {
	if s.holder != nil {
		s.holder.HoldDelivery()
	}
}

// Release implements poll.Publisher.
func (s plainPublisher) Release() {
	if s.holder != nil {
		s.holder.ReleaseDelivery()
	}
}

// Prompt implements poll.Publisher.
func (s plainPublisher) Prompt() bool { return s.prompt }

// PublishPlain implements poll.Publisher: it is publishOne without a request.
func (s plainPublisher) PublishPlain(o publish.One, body []byte, strict bool, dst []byte) (status int, answer []byte, e *codes.Error, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.notePanic(http.MethodPost, "/rooms/"+o.Room, p)
			answer, e, ok = dst, codes.New(codes.Internal, "internal error"), true
		}
	}()
	sc := s.takeScratch()
	defer s.giveScratch(sc)
	batch := sc.batch[:]
	keyed, e := publish.ParseOne(&batch[0], o)
	if e != nil || len(body) > s.o.Publishing.Message || publish.ParseBody(&batch[0], body, strict, keyed) != nil {
		return 0, dst, nil, false // the handler says what is wrong
	}
	status, answer, e = s.publish(batch, dst)
	return status, answer, e, true
}

func isJSON(r *http.Request) bool {
	types := r.Header["Content-Type"]
	return len(types) > 0 && (types[0] == "application/json" || read.MediaType(types[0]) == "application/json")
}

// publishMany serves POST /publish.
func (s *Server) publishMany(c *gin.Context) {
	sc := s.takeScratch()
	defer s.giveScratch(sc)
	body, e := read.Body(c.Request, sc.body, s.o.Publishing.Body, codes.BodyTooLarge)
	if e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	sc.body = body
	parse := publish.ParseBatch
	if read.MediaType(c.Request.Header.Get("Content-Type")) == "application/x-ndjson" {
		parse = publish.ParseLines
	}
	b, e := parse(body, s.o.Publishing)
	if e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	defer b.Free()
	ctx := newDeadline(s.o.PublishTimeout)
	defer ctx.end()
	if fault := b.Run(ctx, s.hub); fault != nil {
		s.faults.note(c.Request.Method, c.Request.URL.Path, codes.From(fault), fault)
	}
	sc.answer = append(sc.answer[:0], "{"+codes.Mark...)
	sc.answer = b.AppendResults(sc.answer)
	sc.answer = append(sc.answer, '}', '\n')
	writePublished(c.Writer, http.StatusOK, sc.answer)
}
