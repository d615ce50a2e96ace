package transporttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
)

// patience bounds every wait of a client for the server.
const patience = 90 * time.Second

// env is a law's surroundings.
type env struct {
	*testing.T
	network Network
	hub     *hub.Hub
	bubble  bool
	deflate bool

	mu       sync.Mutex
	conns    []net.Conn // guarded by mu
	requests *requester // of the law's own goroutine
}

// settle waits, where that is possible, until nothing moves any more.
func (e *env) settle() {
	if e.bubble {
		synctest.Wait()
	}
}

// dial connects; the connection is closed with the law.
func (e *env) dial() (net.Conn, error) {
	return e.keep(e.network.Dial(context.Background()))
}

// dialFor connects for a pipe of a transport: WebSockets may have a way of their
// own.
func (e *env) dialFor(transport string) (net.Conn, error) {
	if n, ok := e.network.(interface {
		DialWebSocket(ctx context.Context) (net.Conn, error)
	}); ok && transport == WS {
		return e.keep(n.DialWebSocket(context.Background()))
	}
	return e.dial()
}

func (e *env) keep(c net.Conn, err error) (net.Conn, error) {
	if err == nil {
		e.mu.Lock()
		e.conns = append(e.conns, c)
		e.mu.Unlock()
	}
	return c, err
}

func (e *env) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		c.Close()
	}
}

// do makes a plain request and wants an answer.
func (e *env) do(method, path, body string) answer {
	e.Helper()
	if e.requests == nil {
		e.requests = &requester{env: e}
	}
	a, err := e.requests.do(method, path, nil, body)
	if err != nil {
		e.Fatalf("%s %.200s: %v", method, path, err)
	}
	return a
}

// publish publishes over HTTP and returns the position.
func (e *env) publish(room, data string) string {
	e.Helper()
	a := e.do("POST", "/rooms/"+room, data)
	var published struct{ Cursor string }
	if err := json.Unmarshal(a.body, &published); err != nil || a.status != 201 {
		e.Fatalf("publish: %d %s", a.status, a.body)
	}
	_, position, _ := strings.Cut(published.Cursor, "=")
	return position
}

// publishMany publishes n messages, numbered from first.
func (e *env) publishMany(room string, first, n int) {
	e.Helper()
	for n > 0 {
		some := min(n, 500)
		var body strings.Builder
		for i := range some {
			fmt.Fprintf(&body, `{"room":%q,"data":{"n":%d}}`+"\n", room, first+i)
		}
		e.publishLines(body.String())
		first, n = first+some, n-some
	}
}

func (e *env) publishLines(lines string) {
	e.Helper()
	if e.requests == nil {
		e.requests = &requester{env: e}
	}
	a, err := e.requests.do("POST", "/publish", []string{"Content-Type: application/x-ndjson"}, lines)
	if err != nil || a.status != 200 || strings.Contains(string(a.body), `"error"`) {
		e.Fatalf("publish: %v %d %.300s", err, a.status, a.body)
	}
}

// open opens a reader that must be greeted.
func (e *env) open(transport, rooms string, params ...string) *reader {
	e.Helper()
	r, err := e.tryOpen(transport, rooms, params...)
	if err != nil {
		e.Fatalf("%s %s %v: %v", transport, rooms, params, err)
	}
	return r
}

// refusal is the error with which a reader was refused.
type refusal struct {
	Code      string
	Message   string
	status    int
	closeCode int
}

func (r *refusal) Error() string { return fmt.Sprintf("refused: %+v", *r) }
