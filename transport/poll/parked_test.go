package poll_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/poll"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// rig is an HTTP server of polls; what is no poll is answered "other" by the
// HTTP server, which says how many requests it has seen.
type rig struct {
	t       *testing.T
	hub     *hub.Hub
	polls   *poll.Handler
	server  *http.Server
	address string
	seen    atomic.Int64
}

func newRig(t *testing.T) *rig { return newRigWith(t, poll.Options{}) }

// everywhere runs a test with epoll, where there is one, and as on systems that
// have none.
func everywhere(t *testing.T, test func(*testing.T, *rig)) {
	for name, start := range map[string]func() *poller.Poller{"New": poller.New, "WithoutEpoll": poller.WithoutEpoll} {
		t.Run(name, func(t *testing.T) { test(t, newRigWith(t, poll.Options{Poller: start()})) })
	}
}

func newRigWith(t *testing.T, o poll.Options) *rig {
	store, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(store, hub.Options{Framings: wire.Framings(wire.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	if o.Poller == nil {
		o.Poller = poller.New()
	}
	r := &rig{t: t, hub: h, polls: poll.New(h, o)}
	r.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.seen.Add(1)
		w.Header().Set("X-Test", "yes")
		if origin := req.Header.Get("Origin"); origin != "" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
		}
		room, ok := strings.CutPrefix(req.URL.Path, "/rooms/")
		if !ok || req.Method != http.MethodGet || strings.Contains(room, "/") {
			body, _ := io.ReadAll(req.Body)
			fmt.Fprintf(w, "other %s %s %s", req.Method, req.URL.Path, body)
			return
		}
		q, e := read.Parse(req, room, read.Limits{})
		if e != nil {
			e.WriteHTTP(w)
			return
		}
		r.polls.Serve(w, req, q)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	served := make(chan struct{})
	go func() { r.server.Serve(l); close(served) }()
	t.Cleanup(func() {
		h.Close()
		r.server.Close()
		r.polls.Close()
		o.Poller.Close()
		store.Close()
		<-served
	})
	return r
}

func (r *rig) publish(room, data string) {
	r.t.Helper()
	if err := r.hub.Publish(context.Background(), []hub.Publish{{Room: room, Data: []byte(data)}})[0].Err; err != nil {
		r.t.Fatal(err)
	}
}

// waits waits until so many polls wait in the hub.
func (r *rig) waits(n int) {
	r.t.Helper()
	for begin := time.Now(); r.hub.Stats().Subscribers["poll"] != n; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			r.t.Fatalf("%v polls wait, want %d", r.hub.Stats().Subscribers, n)
		}
	}
}

// parks waits until so many connections are parked: a poll is counted before its
// place is known, but parked only after.
func (r *rig) parks(n int) {
	r.t.Helper()
	for begin := time.Now(); r.polls.Parked() != n; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			r.t.Fatalf("%d connections are parked, want %d", r.polls.Parked(), n)
		}
	}
}

// client is one connection.
type client struct {
	*rig
	nc net.Conn
	br *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{rig: r, nc: nc, br: bufio.NewReader(nc)}
}

func (c *client) send(text string) { io.WriteString(c.nc, text) }

func (c *client) get(path string) { c.send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n") }

func (c *client) response() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(body)
}

type pollAnswer struct {
	Messages []struct {
		Data json.RawMessage `json:"data"`
	} `json:"messages"`
	Cursor string          `json:"cursor"`
	Bye    json.RawMessage `json:"bye"`
}

func (c *client) poll() (a pollAnswer) {
	c.t.Helper()
	res, body := c.response()
	if err := json.Unmarshal([]byte(body), &a); err != nil || res.StatusCode != 200 || res.ContentLength < 0 ||
		res.Header.Get("X-Test") != "yes" || !strings.Contains(res.Header.Get("Cache-Control"), "no-store") || res.Header.Get("Date") == "" {
		c.t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
	}
	return a
}

// One connection carries many polls, some answered at once and some later, and
// other requests between them.
func TestKeepAlive(t *testing.T) { everywhere(t, keepAlive) }

func keepAlive(t *testing.T, r *rig) {
	c := r.dial()
	c.get("/rooms/a?wait=0")
	cursor := c.poll().Cursor
	next := 1
	for i := range 60 {
		switch i % 6 {
		case 3: // a request that the HTTP server has to serve
			c.send("POST /elsewhere HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
			if _, body := c.response(); body != "other POST /elsewhere hello" {
				t.Fatalf("got %q", body)
			}
		case 4: // bad input
			c.get("/rooms/a?wait=1000")
			if res, _ := c.response(); res.StatusCode != 400 {
				t.Fatalf("got %d", res.StatusCode)
			}
		case 5: // a request in pieces
			c.send("GET /rooms/a?wait=0&cursor=" + cursor)
			time.Sleep(2 * time.Millisecond)
			c.send(" HTTP/1.1\r\nHost: test\r\n\r\n")
			c.poll()
		default:
			c.get("/rooms/a?wait=20&cursor=" + cursor)
			if i%2 == 0 {
				r.waits(1)
			}
			r.publish("a", fmt.Sprint(next))
			a := c.poll()
			if len(a.Messages) != 1 || string(a.Messages[0].Data) != fmt.Sprint(next) {
				t.Fatalf("round %d: %+v", i, a)
			}
			cursor = a.Cursor
			next++
		}
	}
	if n := r.polls.Parked(); n > 1 {
		t.Errorf("%d connections are parked", n)
	}
}

// A client that leaves while its poll waits leaves nothing behind.
func TestLeaves(t *testing.T) { everywhere(t, leaves) }

func leaves(t *testing.T, r *rig) {
	for range 20 {
		c := r.dial()
		c.get("/rooms/a?wait=20")
		r.waits(1)
		c.nc.Close()
		r.waits(0)
	}
	if n := r.polls.Parked(); n != 0 {
		t.Errorf("%d connections are parked", n)
	}
}

// What a client sends while its poll waits does not disturb the answer; the
// connection ends behind it.
func TestPipelined(t *testing.T) { everywhere(t, pipelined) }

func pipelined(t *testing.T, r *rig) {
	for _, at := range []string{"at once", "later"} {
		r.parks(0)
		c := r.dial()
		request := "GET /rooms/a?wait=20 HTTP/1.1\r\nHost: test\r\n\r\n"
		if at == "at once" {
			c.send(request + request)
		} else {
			c.send(request)
			r.parks(1)
			c.send(request)
			time.Sleep(5 * time.Millisecond)
		}
		r.parks(1)
		r.publish("a", "1")
		if a := c.poll(); len(a.Messages) != 1 {
			t.Errorf("%s: %+v", at, a)
		}
		if _, err := c.br.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection lives on: %v", at, err)
		}
	}
}

// The body of a poll, which nobody reads, is no request, however late it comes.
func TestBodyIsNoRequest(t *testing.T) { everywhere(t, bodyIsNoRequest) }

func bodyIsNoRequest(t *testing.T, r *rig) {
	const inside, behind = "GET /inside HTTP/1.1\r\nHost: test\r\n\r\n", "GET /behind HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
	for head, body := range map[string]string{
		fmt.Sprintf("Content-Length: %d\r\n", len(inside)): inside,
		"Transfer-Encoding: chunked\r\n":                   fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inside), inside),
	} {
		c := r.dial()
		c.send("GET /rooms/a?wait=20 HTTP/1.1\r\nHost: test\r\n" + head + "\r\n")
		r.waits(1)
		for begin := time.Now(); r.hub.Stats().Subscribers["poll"] > 0; time.Sleep(time.Millisecond) {
			r.publish("a", "1") // more than once: a poll is counted before its place is known
			if time.Since(begin) > 20*time.Second {
				t.Fatal("the poll is not answered")
			}
		}
		time.Sleep(5 * time.Millisecond) // for the answer to go out
		c.send(body + behind)
		c.poll()
		if rest, _ := io.ReadAll(c.br); strings.Contains(string(rest), "/inside") || !strings.HasSuffix(string(rest), "other GET /behind ") {
			t.Errorf("%q: behind the answer to the poll came %q", head, rest)
		}
	}
}

// Many connections poll at once; nothing is lost, and the end is orderly.
func TestManyAndDrain(t *testing.T) { everywhere(t, manyAndDrain) }

func manyAndDrain(t *testing.T, r *rig) {
	const clients, messages = 50, 20
	results := make(chan error, clients)
	for range clients {
		c := r.dial()
		c.get("/rooms/a?wait=0")
		cursor := c.poll().Cursor
		go func() {
			want := 1
			for {
				c.get("/rooms/a?wait=50&cursor=" + cursor)
				res, err := http.ReadResponse(c.br, nil)
				if err != nil {
					results <- err
					return
				}
				var a pollAnswer
				if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
					results <- err
					return
				}
				io.Copy(io.Discard, res.Body)
				for _, m := range a.Messages {
					if string(m.Data) != fmt.Sprint(want) {
						results <- fmt.Errorf("got %s, want %d", m.Data, want)
						return
					}
					want++
				}
				if cursor = a.Cursor; a.Bye != nil {
					if want != messages+1 || !res.Close {
						err = fmt.Errorf("the end came at %d; close: %v", want, res.Close)
					}
					results <- err
					return
				}
			}
		}()
	}
	for i := range messages {
		r.publish("a", fmt.Sprint(i+1))
		if i%5 == 0 {
			r.waits(clients)
		}
	}
	r.waits(clients)
	for begin := time.Now(); r.hub.Stats().Delivered < clients*messages; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("not everything was delivered")
		}
	}
	r.waits(clients)
	stopped := make(chan error, 1)
	go func() { stopped <- r.server.Shutdown(t.Context()) }()
	if err := r.hub.Drain(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	for range clients {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	r.polls.Close()
	if n := r.polls.Parked(); n != 0 {
		t.Errorf("%d connections are parked", n)
	}
}
