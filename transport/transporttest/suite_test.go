package transporttest_test

import (
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/stream"
	"github.com/culvertd/culvert/transport/transporttest"
	"github.com/culvertd/culvert/transport/wire"
	"github.com/culvertd/culvert/transport/ws"
)

// TestTransports runs the laws against the real engine, hub and memory store,
// with a goroutine for every connection.
func TestTransports(t *testing.T) {
	transporttest.Run(t, func(t testing.TB, l net.Listener, s transporttest.Setup) transporttest.Running {
		return start(t, l, s, transport.Options{}, nil)
	})
}

// TestTransportsPolled runs them with one poller for all connections, as
// culvert serve does.
func TestTransportsPolled(t *testing.T) {
	transporttest.RunTCP(t, func(t testing.TB, l net.Listener, s transporttest.Setup) transporttest.Running {
		return start(t, l, s, transport.Options{}, poller.New())
	})
}

// TestTransportsWithoutEpoll runs them as where there is none: a poller that has
// a goroutine for every connection.
func TestTransportsWithoutEpoll(t *testing.T) {
	transporttest.RunTCP(t, func(t testing.TB, l net.Listener, s transporttest.Setup) transporttest.Running {
		return start(t, l, s, transport.Options{}, poller.WithoutEpoll())
	})
}

// TestTransportsDeflated runs them over compressed WebSockets, read by goroutines
// and by a poller.
func TestTransportsDeflated(t *testing.T) {
	for name, polled := range map[string]bool{"goroutines": false, "polled": true} {
		t.Run(name, func(t *testing.T) {
			transporttest.RunDeflated(t, func(t testing.TB, l net.Listener, s transporttest.Setup) transporttest.Running {
				var p *poller.Poller
				if polled {
					p = poller.New()
				}
				return startDeflating(t, l, s, transport.Options{}, p, 1)
			})
		})
	}
}

// TestTransportsTLS runs them over TLS, with HTTP/1.1 and with HTTP/2.
func TestTransportsTLS(t *testing.T) {
	transporttest.RunTLS(t, func(t testing.TB, l net.Listener, s transporttest.Setup) transporttest.Running {
		return start(t, l, s, transport.Options{}, poller.New())
	})
}

const pageHeartbeat = "--heartbeat--"

// complaints are what net/http has to say. Of clients it may say what it likes,
// but nobody may write to a connection that was taken from it.
type complaints struct{ t testing.TB }

func (c complaints) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "hijacked connection") {
		c.t.Errorf("net/http says: %s", line)
	}
	return len(line), nil
}

// start starts a server that Stop stops, and with it the poller.
func start(t testing.TB, l net.Listener, s transporttest.Setup, o transport.Options, p *poller.Poller) transporttest.Running {
	t.Helper()
	return startDeflating(t, l, s, o, p, 0)
}

// startDeflating compresses messages of so many bytes and more.
func startDeflating(t testing.TB, l net.Listener, s transporttest.Setup, o transport.Options, p *poller.Poller, from int) transporttest.Running {
	t.Helper()
	store, err := memory.New(memory.Options{HistoryMessages: s.HistoryMessages, HistoryBytes: s.HistoryBytes})
	if err != nil {
		t.Fatal(err)
	}
	s.Hub.Framings = wire.Framings(wire.Options{PageHeartbeat: pageHeartbeat, DeflateFrom: from})
	h, err := hub.New(store, s.Hub)
	if err != nil {
		t.Fatal(err)
	}
	sockets := ws.New(ws.Options{Hub: h, PageHeartbeat: pageHeartbeat, Poller: p, Deflate: from > 0})
	streams := stream.New(stream.Options{Hub: h, Poller: p})
	o.Poller = p
	engine, err := transport.New(h, transport.Transports{WebSocket: sockets, SSE: streams.SSE, NDJSON: streams.NDJSON}, o)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{
		Handler: engine, ConnContext: engine.ConnContext, ErrorLog: log.New(complaints{t}, "", 0),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
	done := make(chan error, 1)
	go func() { done <- web.Serve(l) }()
	return transporttest.Running{Hub: h, Stop: func() {
		web.Close()
		<-done
		h.Close()
		engine.Close()
		store.Close()
		sockets.Wait()
		streams.Wait()
		if p != nil {
			p.Close()
		}
	}}
}
