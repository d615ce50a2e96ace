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
	batch := sc.batch[:]
	if e := s.parsePublish(c, sc, &batch[0]); e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	// A client that goes away does not stop its publish half-way: it will want
	// to know what became of it.
	ctx := newDeadline(s.o.PublishTimeout)
	result := &s.hub.Publish(ctx, batch)[0]
	ctx.end()
	if result.Err != nil {
		e := publish.Failed(result.Err, batch[0].Key)
		s.faults.note(c.Request, e, result.Err)
		e.WriteHTTP(c.Writer)
		return
	}
	sc.answer = append(sc.answer[:0], '{')
	sc.answer = wire.AppendPublished(sc.answer, batch[0].Room, batch[0].ID, result)
	sc.answer = append(sc.answer, '}', '\n')
	writePublished(c.Writer, publish.Status(result), sc.answer)
}

// parsePublish reads what POST /rooms/{room} wants published.
func (s *Server) parsePublish(c *gin.Context, sc *scratch, p *hub.Publish) (e *codes.Error) {
	r := c.Request
	p.Room = c.Param("rooms")
	if err := hub.ValidateRoom(p.Room); err != nil {
		return codes.From(err)
	}
	var given bool
	if query := r.URL.RawQuery; query != "" {
		if p.Key, given, e = read.Lookup(query, "key"); e != nil {
			return e
		}
		if p.Ephemeral, e = read.LookupSwitch(query, "ephemeral"); e != nil {
			return e
		}
	}
	if keys := r.Header["Idempotency-Key"]; len(keys) > 0 {
		p.Key, given = keys[0], true
	}
	if given {
		if e := publish.CheckKey(p.Key); e != nil {
			return e
		}
	}
	body, e := read.Body(r, sc.body, s.o.Publishing.Message, codes.MessageTooLarge)
	if e != nil {
		return e
	}
	sc.body = body
	if p.Data, e = publish.Data(body, isJSON(r)); e != nil {
		return e
	}
	if given {
		p.Fingerprint = hub.FingerprintOf(p.Data, p.Ephemeral)
	}
	return nil
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
		s.faults.note(c.Request, codes.From(fault), fault)
	}
	sc.answer = append(sc.answer[:0], '{')
	sc.answer = b.AppendResults(sc.answer)
	sc.answer = append(sc.answer, '}', '\n')
	writePublished(c.Writer, http.StatusOK, sc.answer)
}
