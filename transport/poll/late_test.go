package poll

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// stillPublisher publishes nothing, at once or when it is let.
type stillPublisher struct{ let chan struct{} }

func (stillPublisher) Prompt() bool { return true }
func (stillPublisher) Hold()        {}
func (stillPublisher) Release()     {}

func (s stillPublisher) PublishPlain(_ publish.One, _ []byte, _ bool, dst []byte) (int, []byte, *codes.Error, bool) {
	if s.let != nil {
		<-s.let
	}
	return http.StatusCreated, append(dst, "{}"...), nil, true
}

// servePublishes starts an HTTP server of publishes of up to 100 bytes, whose
// connections are taken over.
func servePublishes(t *testing.T, s stillPublisher) (p *Handler, address string) {
	return servePublishesWith(t, s, func(*Handler, net.Conn, http.ConnState) {})
}

func servePublishesWith(t *testing.T, s stillPublisher, state func(*Handler, net.Conn, http.ConnState)) (p *Handler, address string) {
	store, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(store, hub.Options{Framings: wire.Framings(wire.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	pl := poller.New()
	p = New(h, Options{Poller: pl, Publisher: s})
	server := &http.Server{ConnContext: p.ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, e := read.Body(r, nil, 100, codes.BodyTooLarge); e != nil {
			e.WriteHTTP(w)
			return
		}
		if p.TakesOver(r) {
			p.Published(w, r, http.StatusCreated, []byte("{}"))
			return
		}
		io.WriteString(w, "{}")
		p.Learned(w, false)
	})}
	server.ConnState = func(c net.Conn, now http.ConnState) { state(p, c, now) }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { server.Serve(l); close(served) }()
	t.Cleanup(func() {
		h.Close()
		server.Close()
		p.Close()
		pl.Close()
		store.Close()
		<-served
	})
	if !pl.Native(new(net.TCPConn)) {
		t.Skip("connections are not taken over for publishes here")
	}
	return p, l.Addr().String()
}

// A client that stops in the middle of a request is cut off: without a word in
// its head, with the handler's answer in its body; one that sends a byte now and
// then no later than one that sends nothing.
func TestPublisherThatStops(t *testing.T) {
	p, address := servePublishes(t, stillPublisher{})
	p.headTimeout, p.bodyTimeout = 100*time.Millisecond, 200*time.Millisecond
	const head, body = "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n", "123456789"
	const whole = head + "\r\n" + body
	for _, tt := range []struct {
		title, sent string
		dribble     bool
		within      time.Duration
		answer      string
	}{
		{"in its head", head, false, p.headTimeout, ""},
		{"in its head, slowly", head[:len(head)-4], true, p.headTimeout, ""},
		{"in its body", head + "\r\n1", false, p.bodyTimeout, "HTTP/1.1 408"},
		{"in its body, slowly", head + "\r\n1", true, p.bodyTimeout, "HTTP/1.1 408"},
	} {
		t.Run(tt.title, func(t *testing.T) {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			buf := make([]byte, 4<<10)
			for range 4 {
				io.WriteString(c, whole)
				if n, err := c.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "{}") {
					t.Fatal(string(buf[:n]), err)
				}
			}
			if p.Parked() != 1 {
				t.Fatal("the connection is not taken over")
			}
			start := time.Now()
			io.WriteString(c, tt.sent)
			if tt.dribble {
				go func() {
					for range 5 { // of maxParts
						time.Sleep(tt.within / 7)
						io.WriteString(c, "1")
					}
				}()
			}
			rest, _ := io.ReadAll(c)
			took := time.Since(start)
			if !strings.HasPrefix(string(rest), tt.answer) || tt.answer == "" && len(rest) > 0 || tt.answer != "" && !strings.Contains(string(rest), "\r\nConnection: close\r\n") {
				t.Errorf("got %q", rest)
			}
			// How much later depends on the machine.
			if took < tt.within || took > tt.within+10*time.Second {
				t.Errorf("cut off after %s, want %s", took, tt.within)
			}
			for begin := time.Now(); p.Parked() > 0; time.Sleep(time.Millisecond) {
				if time.Since(begin) > 10*time.Second {
					t.Fatal("the connection is left")
				}
			}
		})
	}
}

// An answer is written for as long as its client takes something of it, within
// bounds.
func TestSlowReaders(t *testing.T) {
	for _, tt := range []struct {
		title        string
		stall, total time.Duration
		read         int // before it stops
		all          bool
	}{
		{"slow, but longer than a stall may be", 100 * time.Millisecond, 20 * time.Second, 1 << 20, true},
		{"stalls", 100 * time.Millisecond, 20 * time.Second, 100 << 10, false},
		{"too slow for all of it", 20 * time.Second, 100 * time.Millisecond, 1 << 20, false},
	} {
		t.Run(tt.title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(nil, Options{})
				p.writeTimeout, p.answerTimeout = tt.stall, tt.total
				nc, client := net.Pipe()
				gone := false
				c := &parked{h: p}
				c.Init(nc, func() { gone = true })
				var reader sync.WaitGroup
				reader.Go(func() {
					for buf := make([]byte, 4<<10); tt.read > 0; tt.read -= len(buf) {
						if _, err := io.ReadFull(client, buf); err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
				began := time.Now()
				all := c.writeAll(make([]byte, 256<<10)) // 640 ms
				if took := time.Since(began); all != tt.all || gone == tt.all || took > time.Second {
					t.Errorf("all: %v, closed: %v, after %s", all, gone, took)
				}
				client.Close()
				c.Close()
				reader.Wait()
			})
		})
	}
}

// What has come before the end is answered before Drain returns, also where it
// is the poller's goroutine that serves it.
func TestDrainWaitsForTheRound(t *testing.T) {
	let := make(chan struct{}, 100)
	p, address := servePublishes(t, stillPublisher{let})
	const publish = "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 4<<10)
	for range 4 {
		let <- struct{}{} // those that the HTTP server has need none
		io.WriteString(c, publish)
		if n, err := c.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "{}") {
			t.Fatal(string(buf[:n]), err)
		}
	}
	for len(let) > 0 {
		<-let
	}
	serves := func() (serves bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.parked {
			c.mu.Lock()
			serves = c.state == parkServing
			c.mu.Unlock()
		}
		return serves
	}
	for serves() { // the answer is here before the poller is done with it
		time.Sleep(100 * time.Microsecond)
	}
	io.WriteString(c, publish)
	for !serves() {
		time.Sleep(100 * time.Microsecond)
	}
	drained := make(chan struct{})
	go func() {
		if err := p.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		close(drained)
	}()
	select {
	case <-drained:
		t.Error("Drain has returned while a publish is under way")
	case <-time.After(20 * time.Millisecond):
	}
	let <- struct{}{}
	if rest, _ := io.ReadAll(c); !strings.HasPrefix(string(rest), "HTTP/1.1 201") {
		t.Errorf("the answer is %q", rest)
	}
	<-drained
}

// A publish whose connection is being taken over is under way as well: the HTTP
// server does not wait for it any more.
func TestDrainWaitsForTakeovers(t *testing.T) {
	waits := make(chan bool, 1)
	_, address := servePublishesWith(t, stillPublisher{}, func(p *Handler, _ net.Conn, now http.ConnState) {
		if now == http.StateHijacked {
			select {
			case <-p.serving.over():
				waits <- false
			default:
				waits <- true
			}
		}
	})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const publish = "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
	io.WriteString(c, publish+publish)
	if !<-waits {
		t.Error("Drain would have nothing to wait for")
	}
}

// A connection that goes back to the HTTP server is counted here until it is
// counted there, so that no more are let in than there may be.
func TestReturningIsCounted(t *testing.T) {
	counted := make(chan int, 1)
	p, address := servePublishesWith(t, stillPublisher{}, func(p *Handler, c net.Conn, now http.ConnState) {
		if _, back := c.(*prefixed); back && now == http.StateNew {
			counted <- p.Parked()
		}
	})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 4<<10)
	for i := range 5 {
		if i == 4 && p.Parked() != 1 {
			t.Fatal("the connection is not taken over")
		}
		io.WriteString(c, []string{"POST", "PUT"}[i/4]+" /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1")
		if n, err := c.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "{}") {
			t.Fatal(string(buf[:n]), err)
		}
	}
	if n := <-counted; n != 1 {
		t.Errorf("%d connections are counted", n)
	}
	for begin := time.Now(); p.Parked() > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the connection is counted for ever")
		}
	}
}
