package transport

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/poll"
	"github.com/culvertd/culvert/transport/read"
)

// read serves GET /rooms/{rooms}, where the headers choose the transport.
func (s *Server) read(c *gin.Context) {
	r := c.Request
	c.Writer.Header().Set("Vary", "Origin, Accept")
	switch {
	case hasToken(r.Header["Upgrade"], "websocket"):
		s.readWebSocket(c)
	case len(r.Header["Sec-Websocket-Key"]) > 0:
		// A proxy took the upgrade away. Its client waits for 101, and must
		// not wait for a poll's answer.
		upgradeRequired(c)
	default:
		switch choose(r.Header["Accept"]) {
		case kindSSE:
			s.readSSE(c)
		case kindNDJSON:
			s.readNDJSON(c)
		default:
			s.readPoll(c)
		}
	}
}

func (s *Server) readPoll(c *gin.Context) {
	if q, ok := s.parseRead(c); ok {
		s.passOn(c, func(w http.ResponseWriter, r *http.Request) { s.poll.Serve(w, r, q) })
	}
}

func (s *Server) readSSE(c *gin.Context) {
	if q, ok := s.parseRead(c); ok {
		s.handOver(c, func(w http.ResponseWriter, r *http.Request) { s.t.SSE(w, r, q) })
	}
}

func (s *Server) readNDJSON(c *gin.Context) {
	if q, ok := s.parseRead(c); ok {
		s.handOver(c, func(w http.ResponseWriter, r *http.Request) { s.t.NDJSON(w, r, q) })
	}
}

func (s *Server) readWebSocket(c *gin.Context) {
	if !hasToken(c.Request.Header["Upgrade"], "websocket") {
		upgradeRequired(c)
		return
	}
	q, e := read.Parse(c.Request, c.Param("rooms"), s.o.Reading)
	s.handOver(c, func(w http.ResponseWriter, r *http.Request) {
		if e != nil {
			s.t.WebSocket.Refuse(w, r, e)
			return
		}
		s.t.WebSocket.Serve(w, r, q)
	})
}

// readBarePath serves a WebSocket at a path of Options.BarePaths.
func (s *Server) readBarePath(c *gin.Context) {
	if !hasToken(c.Request.Header["Upgrade"], "websocket") {
		upgradeRequired(c)
		return
	}
	s.handOver(c, func(w http.ResponseWriter, r *http.Request) { s.t.WebSocket.ServeBare(w, r, c.Param("room")) })
}

func upgradeRequired(c *gin.Context) {
	if c.Request.ProtoMajor == 1 { // HTTP/2 has no place for them: clients drop the answer
		h := c.Writer.Header()
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
	}
	codes.New(codes.UpgradeRequired, "this request needs Upgrade: websocket, which is missing or was removed on the way").
		WithAllowed("a WebSocket handshake; or /sse, /stream, /poll").WriteHTTP(c.Writer)
}

// parseRead parses a reading request, or answers what is wrong with it.
func (s *Server) parseRead(c *gin.Context) (read.Request, bool) {
	q, e := read.Parse(c.Request, c.Param("rooms"), s.o.Reading)
	if e != nil {
		e.WriteHTTP(c.Writer)
		return q, false
	}
	return q, true
}

// plainWriter is gin's writer without what gin says of every connection: that it
// can be hijacked.
type plainWriter struct {
	http.ResponseWriter
	raw http.ResponseWriter
}

// Unwrap is for http.ResponseController.
func (w plainWriter) Unwrap() http.ResponseWriter { return w.raw }

// hijackWriter is the same for a connection that can. Going through gin, which
// would write an answer behind a handler that has written none, tells it not to.
type hijackWriter struct {
	plainWriter
	http.Hijacker
}

// bareHijacker is a Hijacker of connections without what package poll has put
// around them.
type bareHijacker struct{ http.Hijacker }

func (h bareHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := h.Hijacker.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return poll.Bare(nc), brw, nil
}

// handOver gives a request to a transport that may take the connection over.
func (s *Server) handOver(c *gin.Context, serve func(w http.ResponseWriter, r *http.Request)) {
	c.Set(handedOver, true)
	s.passOn(c, serve)
}

// passOn serves a request with a writer that tells the truth about the
// connection.
func (s *Server) passOn(c *gin.Context, serve func(w http.ResponseWriter, r *http.Request)) {
	raw := http.ResponseWriter(c.Writer)
	if u, ok := raw.(interface{ Unwrap() http.ResponseWriter }); ok {
		raw = u.Unwrap()
	}
	var w http.ResponseWriter = plainWriter{c.Writer, raw}
	if _, ok := raw.(http.Hijacker); ok {
		w = hijackWriter{plainWriter{c.Writer, raw}, bareHijacker{c.Writer}}
	}
	defer func() {
		if p := recover(); p != nil {
			// How much of an answer is out is not known here.
			if p != http.ErrAbortHandler {
				s.notePanic(c.Request.Method, c.Request.URL.Path, p)
			}
			panic(http.ErrAbortHandler)
		}
	}()
	serve(w, c.Request)
}

// hasToken reports whether a comma-separated header has a token.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for value != "" {
			var part string
			part, value, _ = strings.Cut(value, ",")
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// kind is a transport that Accept can choose.
type kind uint8

const (
	kindPoll kind = iota
	kindSSE
	kindNDJSON
)

// choose reads Accept. A stream is chosen only where its type is named, and
// nothing else is wanted more: a client that takes anything gets a poll. Of
// types that are wanted alike, the first one named counts.
func choose(accept []string) kind {
	best, bestQ, named := kindPoll, 0.0, false
	for _, value := range accept {
		for value != "" {
			var element string
			element, value, _ = strings.Cut(value, ",")
			k, isNamed := kindPoll, false
			switch read.MediaType(element) {
			case "text/event-stream":
				k, isNamed = kindSSE, true
			case "application/x-ndjson":
				k, isNamed = kindNDJSON, true
			case "application/json":
				isNamed = true
			case "*/*", "application/*":
			default:
				continue
			}
			q := quality(element)
			if q > bestQ || q > 0 && q == bestQ && isNamed && !named {
				best, bestQ, named = k, q, isNamed
			}
		}
	}
	return best
}

// quality is the q of an element of Accept; one that makes no sense is 1.
func quality(element string) float64 {
	_, params, _ := strings.Cut(element, ";")
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
				return q
			}
		}
	}
	return 1
}
