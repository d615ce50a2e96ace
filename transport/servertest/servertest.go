// Package servertest starts a whole server, with rooms in memory, for the tests
// of what speaks to one.
package servertest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/stream"
	"github.com/culvertd/culvert/transport/wire"
	"github.com/culvertd/culvert/transport/ws"
)

// Options say how the server differs from one without any.
type Options struct {
	Store  memory.Options
	Hub    hub.Options // without its framings
	Engine transport.Options
	// Polled has one poller for all connections, as culvert serve does; without
	// it each has a goroutine.
	Polled bool
	// DeflateFrom compresses messages of so many bytes, 0 for none.
	DeflateFrom int
	// TLS serves HTTPS, with a certificate that nobody vouches for.
	TLS bool
	// State is told what becomes of connections.
	State func(net.Conn, http.ConnState)
}

// Server is a server that runs until the end of its test.
type Server struct {
	*httptest.Server
	Hub    *hub.Hub
	Engine *transport.Server
}

// Start starts a server. It calls t.Fatal where it cannot.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	store, err := memory.New(o.Store)
	if err != nil {
		t.Fatal(err)
	}
	o.Hub.Framings = wire.Framings(wire.Options{DeflateFrom: o.DeflateFrom})
	h, err := hub.New(store, o.Hub)
	if err != nil {
		t.Fatal(err)
	}
	if o.Polled {
		o.Engine.Poller = poller.New()
	}
	sockets := ws.New(ws.Options{Hub: h, Poller: o.Engine.Poller, Deflate: o.DeflateFrom > 0})
	streams := stream.New(stream.Options{Hub: h, Poller: o.Engine.Poller})
	engine, err := transport.New(h, transport.Transports{WebSocket: sockets, SSE: streams.SSE, NDJSON: streams.NDJSON}, o.Engine)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Server: httptest.NewUnstartedServer(engine), Hub: h, Engine: engine}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients come and go as the tests like
	s.Config.ConnState = o.State
	if o.TLS {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		h.Close()
		s.CloseClientConnections()
		s.Close()
		engine.Close()
		sockets.Wait()
		streams.Wait()
		if o.Polled {
			o.Engine.Poller.Close()
		}
		store.Close()
	})
	return s
}
