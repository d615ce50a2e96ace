package transport

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/stream"
	"github.com/culvertd/culvert/transport/wire"
	"github.com/culvertd/culvert/transport/ws"
)

// wholeService is a service with every transport, on a TCP socket.
func wholeService(t *testing.T, o Options) (*service, *httptest.Server) {
	t.Helper()
	store, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, store: &faultyStore{Store: store}, log: new(syncBuffer)}
	if s.hub, err = hub.New(s.store, hub.Options{Framings: wire.Framings(wire.Options{PageHeartbeat: "--heartbeat--"})}); err != nil {
		t.Fatal(err)
	}
	sockets := ws.New(ws.Options{Hub: s.hub, PageHeartbeat: "--heartbeat--"})
	streams := stream.New(stream.Options{Hub: s.hub})
	o.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.Server, err = New(s.hub, Transports{WebSocket: sockets, SSE: streams.SSE, NDJSON: streams.NDJSON}, o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		s.close()
		server.Close()
		sockets.Wait()
		streams.Wait()
	})
	return s, server
}

// get asks over the socket; the answer's body is cut off at the test's end.
func get(t *testing.T, server *httptest.Server, path string, headers ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func dial(t *testing.T, server *httptest.Server, path string, headers ...string) (*websocket.Conn, *http.Response) {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	dialer := websocket.Dialer{HandshakeTimeout: 20 * time.Second}
	c, resp, _ := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+path, h)
	if c != nil {
		t.Cleanup(func() { c.Close() })
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return c, resp
}

// The header of a stream that took its connection over says what the router
// decided.
func TestStreamsCarryCORS(t *testing.T) {
	s, server := wholeService(t, Options{AllowOrigins: []string{"https://app.example"}})
	s.publish("lobby", 1)
	for path, mediaType := range map[string]string{"/rooms/lobby/sse?last=1": "text/event-stream", "/rooms/lobby/stream?last=1": "application/x-ndjson"} {
		resp := get(t, server, path, "Origin", "https://app.example")
		h := resp.Header
		if resp.StatusCode != 200 || !strings.HasPrefix(h.Get("Content-Type"), mediaType) || h.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(h.Get("Vary"), "Origin") {
			t.Errorf("%s: %d %v", path, resp.StatusCode, h)
		}
		lines := bufio.NewScanner(resp.Body)
		for found := false; !found; {
			if !lines.Scan() {
				t.Fatalf("%s: no message came: %v", path, lines.Err())
			}
			found = strings.Contains(lines.Text(), `"type":"message"`)
		}
		if resp = get(t, server, path, "Origin", "https://evil.example"); resp.StatusCode != 403 {
			t.Errorf("%s of a foreign page: %d", path, resp.StatusCode)
		}
	}
}

func TestWebSocketThroughTheRouter(t *testing.T) {
	s, server := wholeService(t, Options{})
	s.publish("lobby", 1)
	c, resp := dial(t, server, "/rooms/lobby?last=1")
	if c == nil {
		t.Fatalf("no upgrade: %v", resp)
	}
	for _, want := range []string{`"type":"hello"`, `"data":1`} {
		if _, frame, err := c.ReadMessage(); err != nil || !strings.Contains(string(frame), want) {
			t.Fatalf("%v: %s, want %s", err, frame, want)
		}
	}
	// A browser is shown nothing of a refused upgrade, so it is told inside.
	c, resp = dial(t, server, "/rooms/lobby/ws?cursor=now")
	if c == nil {
		t.Fatalf("a bad cursor is not upgraded: %v", resp)
	}
	if _, frame, err := c.ReadMessage(); err != nil || !strings.Contains(string(frame), `"bad_cursor"`) {
		t.Fatalf("%v: %s", err, frame)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4411) {
		t.Errorf("closed with %v, want 4411", err)
	}
	if c, resp = dial(t, server, "/rooms/lobby", "Origin", "https://evil.example"); c != nil || resp == nil || resp.StatusCode != 403 {
		t.Errorf("a foreign page is answered %v", resp)
	}
}

// The pages of the tutorials: text in is a publish, each message out is its
// data, and the path is the page's own.
func TestPagesThatKnowNothing(t *testing.T) {
	s, server := wholeService(t, Options{BarePaths: []string{"/ws/chat/{room}/"}})
	c, resp := dial(t, server, "/ws/chat/lobby/")
	if c == nil {
		t.Fatalf("no upgrade: %v", resp)
	}
	for _, text := range []string{"--heartbeat--", `{"message":"hello"}`} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		_, frame, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if string(frame) == "--heartbeat--" {
			continue
		}
		if string(frame) != `{"message":"hello"}` {
			t.Fatalf("got %s", frame)
		}
		break
	}
	page := s.decode(s.do("GET", "/rooms/lobby/history", ""), 200)
	if got := s.data(page.Messages); got != `{"message":"hello"}` {
		t.Errorf("published %s", got)
	}
}

func TestRequestLog(t *testing.T) {
	s, _ := wholeService(t, Options{})
	s.do("GET", "/rooms/a?wait=0&token=secret", "")
	s.do("GET", "/nothing", "")
	s.do("GET", "/rooms/a", "", "Origin", "http://evil.example")
	log := s.log.String()
	for _, want := range []string{"level=DEBUG", "path=/rooms/a ", "status=200", "status=404", "evil.example"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in the log", want)
		}
	}
	if strings.Contains(log, "secret") {
		t.Errorf("a query is in the log: %s", log)
	}
}
