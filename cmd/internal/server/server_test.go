package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener that hands out ends of net.Pipe, so that a server can
// live in a synctest bubble, where time costs nothing.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func listenPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
	case <-p.closed:
		t.Fatal("the listener is closed")
	}
	return ours
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func start(t *testing.T, o Options) (*Server, *pipes) {
	o.Logger = slog.New(slog.DiscardHandler)
	l := listenPipes()
	s := New([]net.Listener{l}, o)
	s.Start()
	return s, l
}

func stop(t *testing.T, s *Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "broken off", http.StatusRequestTimeout)
		return
	}
	w.Write(body)
})

// TestSlowSenders: a client that sends a byte now and then, or nothing, is cut
// off in a bounded time, wherever it stops.
func TestSlowSenders(t *testing.T) {
	for _, tt := range []struct {
		title, sent string
		within      time.Duration
	}{
		{"nothing", "", HeaderTimeout},
		{"half a line", "GET / HT", HeaderTimeout},
		{"head without an end", "GET / HTTP/1.1\r\nHost: a\r\n", HeaderTimeout},
		{"no body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", BodyTimeout},
		{"half a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345", BodyTimeout},
		{"chunks without an end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", BodyTimeout},
		{"silence after a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", IdleTimeout},
	} {
		t.Run(tt.title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l := start(t, Options{Handler: echo})
				c := l.dial(t)
				defer c.Close()
				go io.WriteString(c, tt.sent)
				began := time.Now()
				io.Copy(io.Discard, c) // until the server closes
				// net/http drains for half a second before it closes.
				if took := time.Since(began); took < tt.within || took > tt.within+time.Second {
					t.Errorf("cut off after %s, want %s", took, tt.within)
				}
				stop(t, s)
			})
		})
	}
}

// TestDribble: a body that comes a byte every second has the same bound as one
// that does not come.
func TestDribble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, Options{Handler: echo})
		c := l.dial(t)
		defer c.Close()
		began := time.Now()
		var sender sync.WaitGroup
		sender.Go(func() {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
			for range 1000 {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		io.Copy(io.Discard, c)
		if took := time.Since(began); took > BodyTimeout+time.Second {
			t.Errorf("cut off after %s, want %s", took, BodyTimeout)
		}
		sender.Wait()
		stop(t, s)
	})
}

// TestPatientHandlerWithBody: the bound on the body does not end a poll that
// came by POST and waits longer.
func TestPatientHandlerWithBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			select {
			case <-r.Context().Done():
				t.Error("the request's context ended:", context.Cause(r.Context()))
			case <-time.After(BodyTimeout + 25*time.Second):
			}
			w.Write(body)
		})})
		c := l.dial(t)
		defer c.Close()
		r := bufio.NewReader(c)
		for range 2 { // and the connection stays usable
			go io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != "hello" {
				t.Errorf("answer %q", body)
			}
		}
		stop(t, s)
	})
}

// TestReaderThatStops: a client that does not read its answer is cut off.
func TestReaderThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s, l := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			ended <- err
		})})
		c := l.dial(t)
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		began := time.Now()
		if err := <-ended; err == nil {
			t.Error("a megabyte was written to nobody")
		}
		if took := time.Since(began); took > AnswerTimeout {
			t.Errorf("cut off after %s, want %s", took, AnswerTimeout)
		}
		stop(t, s)
	})
}

// TestHeadTooLarge: the longest head fits, a longer one is refused.
func TestHeadTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, Options{Handler: echo})
		for _, tt := range []struct{ bytes, status int }{
			{60 << 10, http.StatusOK},
			{80 << 10, http.StatusRequestHeaderFieldsTooLarge},
		} {
			c := l.dial(t)
			go io.WriteString(c, "GET /?cursor="+strings.Repeat("x", tt.bytes)+" HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status {
				t.Errorf("%d bytes: status %d, want %d", tt.bytes, resp.StatusCode, tt.status)
			}
			c.Close()
		}
		stop(t, s)
	})
}

func TestTooManyConnections(t *testing.T) {
	listeners, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	takenOver := 0
	s := New(listeners, Options{
		Handler: echo, Logger: slog.New(slog.DiscardHandler),
		MaxConnections: 3, TakenOver: func() int { return takenOver },
	})
	takenOver = 1
	s.Start()
	defer stop(t, s)
	ask := func(c net.Conn) *http.Response {
		t.Helper()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if resp := ask(c); resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	for range 200 { // more than are told at once: each is told or closed, none hangs
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		defer c.Close()
	}
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()

	over, err := http.Get("http://" + s.Addr().String())
	for err != nil { // those before may still be being told
		over, err = http.Get("http://" + s.Addr().String())
	}
	var told struct {
		Protocol int
		Error    struct{ Code string }
	}
	if err := json.NewDecoder(over.Body).Decode(&told); err != nil {
		t.Fatal(err)
	}
	over.Body.Close()
	if over.StatusCode != http.StatusServiceUnavailable || told.Protocol != 1 || told.Error.Code != "too_many_connections" || over.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, code %q, Retry-After %q", over.StatusCode, told.Error.Code, over.Header.Get("Retry-After"))
	}
	for _, c := range conns { // those that are connected go on
		if resp := ask(c); resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
		c.Close()
	}
	for { // and make room when they leave
		resp, err := http.Get("http://" + s.Addr().String())
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			break
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestShutdownCutsOffInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		})})
		c := l.dial(t)
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		synctest.Wait() // the handler has the request
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, Options{Handler: echo})
		l.Close()
		if err := <-s.Failed(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		stop(t, s)
	})
}
