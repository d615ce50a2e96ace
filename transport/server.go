package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/poll"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
)

// Hub is the part of a hub that plain requests need.
type Hub interface {
	poll.Hub
	publish.Publisher
	Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error)
	Present(ctx context.Context, room string, limit int) (hub.Presence, error)
	Ready(ctx context.Context) error
	RoomStats(ctx context.Context, room string) (hub.RoomStats, error)
	Stats() hub.Stats
	NodeID() string
}

// WebSocket is the transport of that name.
type WebSocket interface {
	// Serve upgrades a request that is in order, and serves it.
	Serve(w http.ResponseWriter, r *http.Request, q read.Request)
	// Refuse upgrades a request that is not, to tell so: browsers show nothing
	// of a refused upgrade.
	Refuse(w http.ResponseWriter, r *http.Request, e *codes.Error)
	// ServeBare serves a page that knows nothing of Culvert. It checks the
	// room's name itself.
	ServeBare(w http.ResponseWriter, r *http.Request, room string)
}

// Transports are those that keep a connection for themselves. All are required.
type Transports struct {
	WebSocket WebSocket
	// SSE and NDJSON serve a stream.
	SSE, NDJSON func(w http.ResponseWriter, r *http.Request, q read.Request)
}

// Server is Culvert's HTTP handler. The limits on time and headers are those of
// the http.Server around it: its WriteTimeout, if any, must be above the longest
// wait of a poll (read.MaxWait) by what a slow client may take for an answer.
type Server struct {
	// set once
	began  time.Time
	hub    Hub
	t      Transports
	poll   *poll.Handler
	o      Options
	allow  originSet
	engine *gin.Engine
	faults *faultLog

	scratch sync.Pool // of *scratch
}

// New makes a Server.
func New(h Hub, t Transports, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if h == nil || t.WebSocket == nil || t.SSE == nil || t.NDJSON == nil {
		return nil, errors.New("transport: a hub, WebSocket, SSE and NDJSON are required")
	}
	o = o.withDefaults()
	s := &Server{
		began: time.Now(), hub: h, t: t, o: o,
		allow:  newOriginSet(o),
		faults: newFaultLog(o.Logger),
	}
	prompt, ok := h.(interface{ PublishesPromptly() bool })
	holds, _ := h.(holder)
	s.poll = poll.New(h, poll.Options{
		Bytes: o.PollBytes, Logger: o.Logger, Poller: o.Poller, Tuning: o.Tuning, Reading: o.Reading,
		Publisher: plainPublisher{s, ok && prompt.PublishesPromptly(), holds},
	})
	s.scratch.New = func() any { return new(scratch) }
	var err error
	s.engine, err = s.routes()
	return s, err
}

// Parked is the number of connections, of polls and of publishers, that the HTTP
// server does not have any more.
func (s *Server) Parked() int { return s.poll.Parked() }

// ConnContext is for the field of that name of the http.Server. Without it
// connections are not taken over for their publishes.
func (s *Server) ConnContext(ctx context.Context, nc net.Conn) context.Context {
	return s.poll.ConnContext(ctx, nc)
}

// Drain waits until the publishes under way on connections that were taken over
// have been answered, or ctx ends; none follow on them.
func (s *Server) Drain(ctx context.Context) error { return s.poll.Drain(ctx) }

// Close closes the connections that were taken over, after the hub and the HTTP server have
// been closed.
func (s *Server) Close() { s.poll.Close() }

// routes makes the table of PROTOCOL.md, section 1.
func (s *Server) routes() (engine *gin.Engine, err error) {
	// gin's debug mode prints every route to standard output.
	gin.SetMode(gin.ReleaseMode)
	engine = gin.New()
	engine.RedirectTrailingSlash = false
	engine.HandleMethodNotAllowed = true
	engine.Use(s.observe, s.recover)
	engine.NoRoute(s.notFound)
	engine.NoMethod(s.noMethod)

	// gin panics where two patterns exclude each other.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("transport: paths collide: %v", p)
		}
	}()
	handle := func(path string, h gin.HandlerFunc, methods ...string) {
		for _, method := range methods {
			engine.Handle(method, path, h)
			engine.Handle(method, path+"/", h)
		}
	}
	handle("/publish", s.publishMany, http.MethodPost)
	handle("/stats", s.stats, http.MethodGet, http.MethodHead)
	handle("/healthz", s.healthz, http.MethodGet, http.MethodHead)
	handle("/readyz", s.readyz, http.MethodGet, http.MethodHead)
	handle("/rooms/:rooms", s.publishOne, http.MethodPost)
	handle("/rooms/:rooms", s.read, http.MethodGet)
	handle("/rooms/:rooms/ws", s.readWebSocket, http.MethodGet)
	handle("/rooms/:rooms/sse", s.readSSE, http.MethodGet, http.MethodPost)
	handle("/rooms/:rooms/stream", s.readNDJSON, http.MethodGet, http.MethodPost)
	handle("/rooms/:rooms/poll", s.readPoll, http.MethodGet, http.MethodPost)
	handle("/rooms/:rooms/history", s.history, http.MethodGet, http.MethodHead)
	handle("/rooms/:rooms/presence", s.presence, http.MethodGet, http.MethodHead)
	handle("/rooms/:rooms/stats", s.roomStats, http.MethodGet, http.MethodHead)
	handle("/doctor/echo", s.echo, echoMethods...)
	for _, path := range s.o.BarePaths {
		handle(strings.ReplaceAll(strings.TrimSuffix(path, "/"), "{room}", ":room"), s.readBarePath, http.MethodGet)
	}
	return engine, nil
}

// ServeHTTP decides about the origin first, so that every answer of every path
// carries what browsers need to show it, and then routes the request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.originAllowed(w, r):
		s.engine.ServeHTTP(w, r)
	case s.o.Logger.Enabled(r.Context(), slog.LevelDebug):
		s.o.Logger.Debug("preflight or refused origin", "method", r.Method, "path", r.URL.Path, "origin", r.Header.Get("Origin"))
	}
}

// handedOver is the key under which a request's context notes that a transport
// has the connection.
const handedOver = "handed over"

// observe logs requests at debug level.
func (s *Server) observe(c *gin.Context) {
	r := c.Request
	if !s.o.Logger.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	start := time.Now()
	defer func() {
		// The query is left out: it may hold secrets.
		attrs := []any{"method", r.Method, "path", r.URL.Path, "took", time.Since(start)}
		if _, ok := c.Get(handedOver); !ok {
			attrs = append(attrs, "status", c.Writer.Status())
		}
		s.o.Logger.Debug("request", attrs...)
	}()
	c.Next()
}

// notFound serves pages, which have no routes: what is a page is known to
// whoever keeps them.
func (s *Server) notFound(c *gin.Context) {
	if s.servePage(c.Writer, c.Request) {
		return
	}
	message := "there is nothing at this address"
	if strings.HasPrefix(c.Request.URL.Path, "/rooms/") {
		message += "; a room's name has no / in it" // whoever comes with topics that are URLs hears why
	}
	codes.New(codes.NotFound, message).
		WithAllowed("/rooms/{room}, /publish, /stats, /healthz, /readyz, /doctor/echo; pages for browsers at / and /doctor").WriteHTTP(c.Writer)
}

// servePage answers with a page or script, if there is one.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) bool {
	return s.o.Pages != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) && s.o.Pages(w, r)
}

// noMethod answers with the methods in Allow, which gin has set.
func (s *Server) noMethod(c *gin.Context) {
	codes.New(codes.UnsupportedMethod, "this address does not take "+methodName(c.Request.Method)).
		WithAllowed(c.Writer.Header().Get("Allow")).WriteHTTP(c.Writer)
}

// methodName is a method that may be repeated in an answer.
func methodName(method string) string {
	if len(method) > 20 {
		return "this method"
	}
	return method
}

// recover turns a panic into an answer, where none has begun, and a log line.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
		s.notePanic(c.Request.Method, c.Request.URL.Path, p)
		if c.Writer.Written() {
			// Part of an answer is out: only a broken connection tells the truth.
			panic(http.ErrAbortHandler)
		}
		codes.New(codes.Internal, "internal error").WriteHTTP(c.Writer)
	}()
	c.Next()
}

func (s *Server) notePanic(method, path string, p any) {
	s.o.Logger.Error("panic in a handler", "panic", fmt.Sprint(p), "method", method, "path", path, "stack", string(debug.Stack()))
}

// fail answers with an error. Where it is the server's own fault, err is logged.
func (s *Server) fail(c *gin.Context, err error) {
	e := codes.From(err)
	s.faults.note(c.Request.Method, c.Request.URL.Path, e, err)
	e.WriteHTTP(c.Writer)
}

// faultLog logs faults and refused origins, but a store that is down fails every
// request: at most one line a second for each code, with the number of those
// left out.
type faultLog struct {
	logger *slog.Logger // set once

	mu sync.Mutex
	// guarded by mu
	codes map[codes.Code]*faultCount
}

type faultCount struct {
	logged  time.Time
	skipped int
}

func newFaultLog(logger *slog.Logger) *faultLog {
	return &faultLog{logger: logger, codes: make(map[codes.Code]*faultCount)}
}

func (l *faultLog) note(method, path string, e *codes.Error, err error) {
	if !e.Faulty() {
		return
	}
	if skipped, ok := l.due(e.Code, time.Second); ok {
		l.logger.Warn("request failed", "code", string(e.Code), "error", err, "method", method, "path", path, "more", skipped)
	}
}

// refusedOrigin is for whoever runs the server: browsers show neither the page
// nor its user why it was refused. Pages make such lines as they like, so that
// they come less often than faults.
func (l *faultLog) refusedOrigin(r *http.Request, origin string) {
	if skipped, ok := l.due(codes.OriginNotAllowed, 10*time.Second); ok {
		l.logger.Warn("origin refused: name it with --allow-origin; or, if it is the server's own, let the proxy pass Host on as it came, with the port",
			"origin", shortened(origin), "host", shortened(r.Host), "path", shortened(r.URL.Path), "more", skipped)
	}
}

// shortened is a client's text that may stand in a line of the log.
func shortened(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// due reports whether a line about code may be logged now, and how many were
// left out since the last.
func (l *faultLog) due(code codes.Code, every time.Duration) (skipped int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.codes[code]
	if f == nil {
		f = new(faultCount)
		l.codes[code] = f
	}
	if now.Sub(f.logged) < every {
		f.skipped++
		return 0, false
	}
	skipped = f.skipped
	f.logged, f.skipped = now, 0
	return skipped, true
}
