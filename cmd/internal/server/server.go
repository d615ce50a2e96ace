package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/transport/conn"
)

// How long a client may take. They bound what a client costs that sends or
// reads a byte now and then; connections that a transport has taken over have
// its own bounds.
const (
	// HeaderTimeout is for a request's head.
	HeaderTimeout = 10 * time.Second
	// BodyTimeout is for a request's body, from its head on.
	BodyTimeout = 30 * time.Second
	// AnswerTimeout is for everything from the head to the end of the answer.
	// The longest poll waits 55 s.
	AnswerTimeout = 2 * time.Minute
	// IdleTimeout is between two requests of a connection. It is longer than
	// what proxies keep idle connections for (60 s is usual), so that it is
	// the proxy that closes them and no request meets a closing connection.
	IdleTimeout = 75 * time.Second
	// MaxHeaderBytes bounds a request's head: the cursor of 100 rooms with long
	// names takes 25 KB.
	MaxHeaderBytes = 64 << 10
)

// Options are the settings of a Server.
type Options struct {
	Handler http.Handler
	Logger  *slog.Logger
	// MaxConnections is how many connections there may be; further ones are
	// answered 503 too_many_connections. 0 means no limit.
	MaxConnections int
	// Handshakes is how many accepted connections may be there whose first request
	// has not begun; the next wait in the kernel's queue, so that a rush of new
	// connections does not delay the others. Those that stay silent are not
	// counted for long. 0: the constant Handshakes.
	Handshakes int
	// TLS, where it is set, is what every connection speaks; with HTTP/2 where
	// the client wants it.
	TLS *tls.Config
	// Tuning is what all connections are given from their beginning.
	Tuning conn.Tuning
	// WriteTimeout is how long an HTTP/2 connection may take nothing of what is
	// written before it is closed. 0: AnswerTimeout.
	WriteTimeout time.Duration
	// ConnContext is http.Server's; nil: none.
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	// TakenOver counts the connections that handlers have taken over
	// (hijacked) and that still live. It may be nil.
	TakenOver func() int
}

// Server serves HTTP on listeners until Shutdown.
type Server struct {
	http      *http.Server
	options   Options
	open      atomic.Int64 // connections that net/http has
	admit     *admission
	listeners []net.Listener
	failed    chan error
	serving   sync.WaitGroup
}

// New makes a server for the listeners, which it owns from now on.
func New(listeners []net.Listener, o Options) *Server {
	s := &Server{options: o, listeners: listeners, failed: make(chan error, len(listeners)), admit: newAdmission(o.Handshakes)}
	s.http = &http.Server{
		Handler:           boundBody(o.Handler, BodyTimeout),
		ReadHeaderTimeout: HeaderTimeout,
		WriteTimeout:      AnswerTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		ErrorLog:          log.New(&errorLog{o.Logger}, "", 0),
		ConnState:         s.count,
		ConnContext:       o.ConnContext,
		TLSConfig:         o.TLS.Clone(), // net/http changes it
		// A stream's own deadline cannot end a write on which the whole
		// connection waits.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: cmp.Or(o.WriteTimeout, AnswerTimeout)},
	}
	return s
}

// count is called by net/http as its connections change; a new one is counted
// before the next is accepted.
func (s *Server) count(c net.Conn, state http.ConnState) {
	if state != http.StateNew {
		s.admit.begun(c)
	}
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

func (s *Server) full() bool {
	if s.options.MaxConnections == 0 {
		return false
	}
	n := int(s.open.Load())
	if s.options.TakenOver != nil {
		n += s.options.TakenOver()
	}
	return n >= s.options.MaxConnections
}

// Start begins to serve. What ends it early is sent to Failed.
func (s *Server) Start() {
	for _, l := range s.listeners {
		s.serving.Go(func() {
			if err := s.serve(newGate(l, s.full, s.admit, s.options)); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- err
			}
		})
	}
}

func (s *Server) serve(l net.Listener) error {
	if s.options.TLS != nil {
		return s.http.ServeTLS(l, "", "") // the certificate is TLSConfig's
	}
	return s.http.Serve(l)
}

// Failed delivers the error of a listener that broke.
func (s *Server) Failed() <-chan error { return s.failed }

// Addr is the address of the first listener.
func (s *Server) Addr() *net.TCPAddr { return s.listeners[0].Addr().(*net.TCPAddr) }

// Shutdown closes the listeners and waits for the requests under way; those
// that are there when ctx ends are cut off, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	s.serving.Wait()
	return err
}

// boundBody bounds the time for a request's body. http.Server.ReadTimeout would
// do so too, but goes on while the handler works, and would end polls that wait
// longer.
func boundBody(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			if setReadDeadline(w, time.Now().Add(limit)) == nil {
				r.Body = &boundedBody{ReadCloser: r.Body, w: w}
			}
		}
		next.ServeHTTP(w, r)
	})
}

func setReadDeadline(w http.ResponseWriter, t time.Time) error {
	return http.NewResponseController(w).SetReadDeadline(t)
}

type boundedBody struct {
	io.ReadCloser
	w http.ResponseWriter // nil once the body is here
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.w != nil {
		setReadDeadline(b.w, time.Time{})
		b.w = nil
	}
	return n, err
}

// errorLog takes what net/http has to say. Of a handler that panicked the
// operator must hear; the rest is clients that broke off or sent nonsense.
type errorLog struct{ logger *slog.Logger }

func (e *errorLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if strings.Contains(text, "panic serving") {
		level = slog.LevelError
	}
	e.logger.Log(context.Background(), level, "http server", "message", text)
	return len(line), nil
}
