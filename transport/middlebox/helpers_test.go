package middlebox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// memory is a listener whose connections are pipes, so that a whole proxy fits
// into a synctest bubble.
type memory struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// backend answers what the tests ask for, and counts.
type backend struct {
	mu   sync.Mutex
	hits map[string]int // guarded by mu; by method and path
	left int            // guarded by mu; clients that went away from /forever
}

func (b *backend) seen(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hits[what]
}

func (b *backend) leavers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// echoed is what /echo says about a request.
type echoed struct {
	Method, URI, Proto, Body string
	Header                   http.Header
	Hit                      int
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.hits[r.Method+" "+r.URL.Path]++
	hit := b.hits[r.Method+" "+r.URL.Path]
	b.mu.Unlock()
	number := func(name string) int { n, _ := strconv.Atoi(r.FormValue(name)); return n }
	switch r.URL.Path {
	case "/ws":
		u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, p, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, p) != nil {
				return
			}
		}
	case "/stream": // n lines, one every ms milliseconds, of a type
		w.Header().Set("Content-Type", r.FormValue("type"))
		for i := range number("n") {
			if i > 0 {
				pause(r.Context(), number("ms"))
			}
			fmt.Fprintf(w, "line %d\n", i)
			http.NewResponseController(w).Flush()
		}
	case "/forever":
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		b.mu.Lock()
		b.left++
		b.mu.Unlock()
	case "/slow":
		pause(r.Context(), number("ms"))
		io.WriteString(w, "slow")
	case "/big":
		w.Header().Set("Content-Length", r.FormValue("n"))
		io.WriteString(w, strings.Repeat("x", number("n")))
	default:
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-From", "backend")
		json.NewEncoder(w).Encode(echoed{r.Method, r.RequestURI, r.Proto, string(body), r.Header, hit})
	}
}

func pause(ctx context.Context, ms int) {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-ctx.Done():
	}
}

// world is a server, a box before it and a client before that.
type world struct {
	*testing.T
	box     *Box
	backend *backend
	client  *http.Client
	dial    func(ctx context.Context) (net.Conn, error)
}

func newWorld(t *testing.T, o Options, inMemory bool) (w *world, end func()) {
	t.Helper()
	w = &world{T: t, backend: &backend{hits: map[string]int{}}}
	server := &http.Server{Handler: w.backend}
	c := Config{Options: o}
	var listener net.Listener
	if inMemory {
		front, back := newMemory(), newMemory()
		listener, c.Listener, c.Upstream = back, front, "server"
		c.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return back.dial(ctx) }
		w.dial = front.dial
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener, c.Upstream = l, l.Addr().String()
	}
	box, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	w.box = box
	if !inMemory {
		w.dial = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", box.Addr())
		}
	}
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx) }}
	w.client = &http.Client{Transport: transport}
	var served sync.WaitGroup
	served.Go(func() { server.Serve(listener) })
	return w, func() {
		transport.CloseIdleConnections()
		box.Close()
		server.Close()
		served.Wait()
	}
}

// inBubble runs a test on virtual time; the bubble fails if a goroutine of the
// box outlives it.
func inBubble(t *testing.T, o Options, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, end := newWorld(t, o, true)
		defer end()
		f(w)
	})
}

// onSockets runs a test over TCP, for what pipes cannot do.
func onSockets(t *testing.T, o Options, f func(w *world)) {
	t.Helper()
	w, end := newWorld(t, o, false)
	defer end()
	f(w)
}

// call makes a request; the error may come from reading the answer.
func (w *world) call(method, path, body string, headers ...string) (*http.Response, string, error) {
	w.Helper()
	r, err := http.NewRequest(method, "http://box"+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	if method == "GET" {
		r.Body = nil
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// echo makes a request to the echo and returns what it saw.
func (w *world) echo(method, path, body string, headers ...string) echoed {
	w.Helper()
	resp, text, err := w.call(method, path, body, headers...)
	if err != nil {
		w.Fatal(err)
	}
	var e echoed
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		w.Fatalf("%s %s: %d %q", method, path, resp.StatusCode, text)
	}
	return e
}

// status makes a request and returns the answer's status, 0 for none.
func (w *world) status(method, path, body string, headers ...string) int {
	w.Helper()
	resp, _, err := w.call(method, path, body, headers...)
	if err != nil {
		return 0
	}
	return resp.StatusCode
}

// arrivals reads a stream and returns when, after the start of the request, the
// head and each line arrived, and the error that ended it.
func (w *world) arrivals(method, path string, headers ...string) (head time.Duration, lines []time.Duration, err error) {
	w.Helper()
	start := time.Now()
	r, _ := http.NewRequest(method, "http://box"+path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	head = time.Since(start)
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
		lines = append(lines, time.Since(start))
	}
	if err = s.Err(); err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return head, lines, err
}

// websocket opens a WebSocket; resp is the answer to a refused one.
func (w *world) websocket(timeout time.Duration) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: timeout, NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx) }}
	return d.Dial("ws://box/ws", nil)
}

func (w *world) mustWebsocket() *websocket.Conn {
	w.Helper()
	c, _, err := w.websocket(time.Minute)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.Close() })
	return c
}

// ask sends a text and waits for the echo.
func ask(c *websocket.Conn, text string, patience time.Duration) (string, error) {
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return "", err
	}
	c.SetReadDeadline(time.Now().Add(patience))
	_, p, err := c.ReadMessage()
	return string(p), err
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
