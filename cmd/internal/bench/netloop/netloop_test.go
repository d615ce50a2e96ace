package netloop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/netloop"
)

// patience bounds what a test waits for; nothing comes near it.
const patience = time.Minute

// peer listens and gives each connection to serve.
func peer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func echo(c net.Conn) { io.Copy(c, c) }

// both runs a test with each form of the loop.
func both(t *testing.T, f func(t *testing.T, open func(address string) *netloop.Loop)) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%v", portable), func(t *testing.T) {
			f(t, func(address string) *netloop.Loop {
				l, err := netloop.New(t.Context(), netloop.Options{Address: address, Portable: portable})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(l.Close)
				return l
			})
		})
	}
}

// probe is a handler that writes down what it hears.
type probe struct {
	opened bool
	got    bytes.Buffer
	err    error
	onData func()
	onOpen func()
}

func (p *probe) Opened() {
	p.opened = true
	if p.onOpen != nil {
		p.onOpen()
	}
}

func (p *probe) Data(b []byte) {
	p.got.Write(b)
	if p.onData != nil {
		p.onData()
	}
}

func (p *probe) Closed(err error) { p.err = err }

// until runs the loop until done.
func until(t *testing.T, l *netloop.Loop, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		if err := l.Wait(100 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// A loop that stays awake hears all that others hear, and waits no longer than
// it is told.
func TestAwake(t *testing.T) {
	for _, awake := range []time.Duration{0, 5 * time.Millisecond, time.Hour} {
		l, err := netloop.New(t.Context(), netloop.Options{Address: peer(t, echo), Awake: awake})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		var p probe
		c := l.Dial(&p, netloop.DialOptions{})
		until(t, l, "the connection", func() bool { return p.opened })
		for i := range 20 {
			c.Write([]byte("x"))
			until(t, l, "the echo", func() bool { return p.got.Len() > i })
		}
		// Nothing comes: both a long and a short wait end by themselves.
		for _, d := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
			begin := time.Now()
			if err := l.Wait(d); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(begin); waited < d {
				t.Errorf("awake for %s, it waited for %s of %s", awake, waited, d)
			}
		}
		if p.err != nil || p.got.Len() != 20 {
			t.Errorf("it got %q, %v", p.got.String(), p.err)
		}
	}
}

func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *netloop.Loop) {
		l := open(peer(t, echo))
		const n = 200
		probes := make([]*probe, n)
		conns := make([]netloop.Conn, n)
		for i := range probes {
			probes[i] = &probe{}
			conns[i] = l.Dial(probes[i], netloop.DialOptions{First: i%3 == 0})
			conns[i].Write(fmt.Appendf(nil, "early %d ", i)) // before it is open
			probes[i].onOpen = func() { conns[i].Write([]byte("late")) }
		}
		until(t, l, "all echoes", func() bool {
			for i, p := range probes {
				if p.got.String() != fmt.Sprintf("early %d late", i) && p.got.String() != fmt.Sprintf("lateearly %d ", i) {
					return false
				}
			}
			return true
		})
	})
}

// More than the system's buffers hold arrives whole and in order.
func TestLargeWrite(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *netloop.Loop) {
		l := open(peer(t, echo))
		var text bytes.Buffer
		for i := range 1_000_000 {
			fmt.Fprintf(&text, "%d ", i)
		}
		p := &probe{}
		c := l.Dial(p, netloop.DialOptions{})
		c.Write(text.Bytes())
		until(t, l, "the echo", func() bool { return p.got.Len() >= text.Len() })
		if !bytes.Equal(p.got.Bytes(), text.Bytes()) {
			t.Error("it arrives in another order")
		}
	})
}

func TestRefused(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *netloop.Loop) {
		nobody, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nobody.Close()
		l := open(nobody.Addr().String())
		p := &probe{}
		l.Dial(p, netloop.DialOptions{})
		until(t, l, "the refusal", func() bool { return p.err != nil })
		if p.opened || !strings.Contains(p.err.Error(), "refused") {
			t.Errorf("opened %v, %v; want a refusal", p.opened, p.err)
		}
	})
}

func TestPeerCloses(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *netloop.Loop) {
		l := open(peer(t, func(c net.Conn) { io.WriteString(c, "bye") }))
		p := &probe{}
		l.Dial(p, netloop.DialOptions{})
		until(t, l, "the end", func() bool { return p.err != nil })
		if p.got.String() != "bye" || !errors.Is(p.err, io.EOF) {
			t.Errorf("%q, %v; want bye and EOF", &p.got, p.err)
		}
	})
}

// A paused connection is told nothing until it is resumed, and then all.
func TestPause(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *netloop.Loop) {
		l := open(peer(t, echo))
		stalled, other := &probe{}, &probe{}
		c := l.Dial(stalled, netloop.DialOptions{ReceiveBuffer: 4096})
		stalled.onData = c.Pause
		o := l.Dial(other, netloop.DialOptions{})
		c.Write([]byte("1"))
		until(t, l, "the first", func() bool { return stalled.got.Len() == 1 })
		for range 100 { // each an exchange that the stalled one could have heard in
			n := other.got.Len()
			c.Write([]byte("2"))
			o.Write([]byte("x"))
			until(t, l, "the other", func() bool { return other.got.Len() > n })
		}
		if stalled.got.Len() != 1 {
			t.Fatalf("a paused connection heard %q", &stalled.got)
		}
		stalled.onData = nil
		c.Resume()
		until(t, l, "the rest", func() bool { return stalled.got.Len() == 101 })
	})
}

// A handler may close any connection at any time; nobody is told of what was
// meant for another.
func TestCloseAnyTime(t *testing.T) {
	both(t, func(t *testing.T, open func(string) *netloop.Loop) {
		l := open(peer(t, echo))
		const n = 50
		probes := make([]*probe, n)
		conns := make([]netloop.Conn, n)
		heard := 0
		closing := false
		for i := range probes {
			probes[i] = &probe{}
			conns[i] = l.Dial(probes[i], netloop.DialOptions{First: i%3 == 0})
			probes[i].onData = func() {
				heard++
				if closing { // the first that hears closes all, and opens as many
					closing = false
					for _, c := range conns {
						c.Close()
					}
					for j := range conns {
						probes[j] = &probe{}
						conns[j] = l.Dial(probes[j], netloop.DialOptions{})
					}
				}
			}
			conns[i].Write([]byte("x"))
		}
		until(t, l, "all", func() bool { return heard == n })
		closing = true
		for _, c := range conns {
			c.Write([]byte("y"))
		}
		until(t, l, "the new ones", func() bool {
			for _, p := range probes {
				if !p.opened {
					return false
				}
			}
			return !closing
		})
		for i, p := range probes {
			if p.got.Len() != 0 || p.err != nil {
				t.Errorf("connection %d heard %q, %v", i, &p.got, p.err)
			}
		}
	})
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	l, err := netloop.New(t.Context(), netloop.Options{Address: server.Listener.Addr().String(), TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &probe{}
	l.Dial(p, netloop.DialOptions{}).Write([]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
	until(t, l, "the answer", func() bool { return strings.HasSuffix(p.got.String(), "hello") })

	p = &probe{}
	untrusted, err := netloop.New(t.Context(), netloop.Options{Address: server.Listener.Addr().String(), TLS: &tls.Config{ServerName: "example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	defer untrusted.Close()
	untrusted.Dial(p, netloop.DialOptions{})
	until(t, untrusted, "the refusal", func() bool { return p.err != nil })
}

func TestBadAddress(t *testing.T) {
	for _, address := range []string{"", "localhost", "localhost:nonsense", "[::1", "no.such.host.invalid:80"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := netloop.New(ctx, netloop.Options{Address: address}); err == nil {
			t.Errorf("%q is accepted", address)
		}
		cancel()
	}
}
