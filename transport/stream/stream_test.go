package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/stream"
	"github.com/culvertd/culvert/transport/transporttest"
	"github.com/culvertd/culvert/transport/wire"
)

// server is a hub with nothing but streams in front of it.
type server struct {
	t       testing.TB
	hub     *hub.Hub
	network transporttest.Network
	handler *stream.Handler
}

func start(t testing.TB, network transporttest.Network, ho hub.Options) *server {
	t.Helper()
	store, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ho.Framings = wire.Framings(wire.Options{})
	ho.NodeID = "n1"
	h, err := hub.New(store, ho)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, hub: h, network: network, handler: stream.New(stream.Options{Hub: h, Server: "culvert test"})}
	web := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error)
	if network != nil {
		go func() { done <- web.Serve(network) }()
	}
	t.Cleanup(func() {
		web.Close()
		if network != nil {
			<-done
		}
		h.Close()
		store.Close()
		s.handler.Wait()
	})
	return s
}

// ServeHTTP serves /sse/{rooms} and /stream/{rooms}, as the engine would.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Origin")
	w.Header().Set("Access-Control-Allow-Origin", "http://page")
	rooms, sse := strings.CutPrefix(r.URL.Path, "/sse/")
	rooms = strings.TrimPrefix(rooms, "/stream/")
	q, e := read.Parse(r, rooms, read.Limits{})
	switch {
	case e != nil:
		e.WriteHTTP(w)
	case sse:
		s.handler.SSE(w, r, q)
	default:
		s.handler.NDJSON(w, r, q)
	}
}

func (s *server) publish(room, data string) {
	s.t.Helper()
	res := s.hub.Publish(context.Background(), []hub.Publish{{Room: room, Data: []byte(data)}})
	if res[0].Err != nil {
		s.t.Fatal(res[0].Err)
	}
}

// raw sends a request as it is and returns the connection.
func (s *server) raw(request string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	c, err := s.network.Dial(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// answer sends a request and reads the head of the answer.
func (s *server) answer(request string) (net.Conn, *http.Response, *bufio.Reader) {
	s.t.Helper()
	c, br := s.raw(request)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, res, bufio.NewReader(res.Body)
}

func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: test\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// until reads up to and with the first line that is the one wanted.
func until(t testing.TB, br *bufio.Reader, line string) string {
	t.Helper()
	var text strings.Builder
	for {
		got, err := br.ReadString('\n')
		text.WriteString(got)
		if err != nil {
			t.Fatalf("%q: %v", text.String(), err)
		}
		if got == line {
			return text.String()
		}
	}
}

func loopback(t testing.TB) transporttest.Network {
	t.Helper()
	l, err := transporttest.NewLoopback(false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestHead(t *testing.T) {
	s := start(t, loopback(t), hub.Options{})
	for _, tt := range []struct {
		path, accept, mediaType string
	}{
		{"/sse/a", "", "text/event-stream"},
		{"/sse/a", "text/event-stream", "text/event-stream"},
		{"/sse/a", "text/plain", "text/plain; charset=utf-8"},
		{"/sse/a", "text/plain;q=0.5, text/event-stream", "text/event-stream"},
		{"/stream/a", "*/*", "application/x-ndjson"},
		{"/stream/a", "application/json, text/plain", "text/plain; charset=utf-8"},
	} {
		_, res, br := s.answer(get(tt.path, "Accept: "+tt.accept))
		want := map[string]string{
			"Content-Type": tt.mediaType, "Cache-Control": "no-store, no-transform", "Content-Encoding": "identity",
			"X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff", "Vary": "Origin",
			"Access-Control-Allow-Origin": "http://page",
		}
		for name, value := range want {
			if got := res.Header.Get(name); got != value {
				t.Errorf("%s with %q: %s is %q, want %q", tt.path, tt.accept, name, got, value)
			}
		}
		if _, err := http.ParseTime(res.Header.Get("Date")); err != nil || res.StatusCode != 200 || len(res.TransferEncoding) != 1 || res.ContentLength != -1 || !res.Close {
			t.Errorf("%s: %v, %v", tt.path, res, err)
		}
		if c, err := br.ReadByte(); err != nil || c != ':' && c != '{' {
			t.Errorf("%s: first byte %q, %v", tt.path, c, err)
		}
	}
}

func TestSSE(t *testing.T) {
	s := start(t, loopback(t), hub.Options{})
	_, _, br := s.answer(get("/sse/a?client=me&heartbeat=20"))
	hello := until(t, br, "\n")
	if !strings.HasPrefix(hello, ": culvert\nretry: 2000\nevent: hello\nid: a=0\ndata: {") {
		t.Errorf("it begins with %q", hello)
	}
	var h map[string]any
	_, data, _ := strings.Cut(hello, "data: ")
	if err := json.Unmarshal([]byte(data), &h); err != nil || h["client"] != "me" || h["heartbeat"] != 20.0 || h["node"] != "n1" || h["server"] != "culvert test" {
		t.Errorf("hello is %v, %v", h, err)
	}
	s.publish("a", `{"x":1}`)
	message := until(t, br, "\n")
	id, _, _ := strings.Cut(strings.TrimPrefix(message, "id: "), "\n")
	if !strings.HasPrefix(id, "a=") || !strings.Contains(message, "\ndata: {\"type\":\"message\"") {
		t.Errorf("the message is %q", message)
	}
	s.publish("a", `2`)
	_, _, br = s.answer(get("/sse/a?last=5", "Last-Event-ID: "+id))
	until(t, br, "\n")
	if message := until(t, br, "\n"); !strings.Contains(message, `"offset":2,`) {
		t.Errorf("after %s came %q", id, message)
	}
	// Several rooms: the id is all of them.
	_, _, br = s.answer(get("/sse/b,a?from=start"))
	until(t, br, "\n")
	if message := until(t, br, "\n"); !strings.HasPrefix(message, "id: b=0,a="+strings.TrimPrefix(id, "a=")+"\n") {
		t.Errorf("with two rooms %q, first id %s", message, id)
	}
}

func TestForms(t *testing.T) {
	s := start(t, loopback(t), hub.Options{})
	s.publish("a", `"one\ntwo"`)
	for _, tt := range []struct {
		name, request string
		// want is what follows the head and, where it has one, the hello.
		want string
	}{
		{"bare SSE", get("/sse/a?format=bare&from=start"), ": culvert\nretry: 2000\nid: a=0\n\nid: CURSOR\ndata: one\ndata: two\n\n"},
		{"bare NDJSON", get("/stream/a?format=bare&from=start"), "\n\"one\\ntwo\"\n"},
		{"NDJSON", get("/stream/a?from=start"), "HELLO\n{\"type\":\"message\","},
		{"padded NDJSON", get("/stream/a?from=start&pad=10"), "          HELLO\n{\"type\":\"message\","},
		{"padded SSE", get("/sse/a?format=bare&pad=3"), ": culvert   \nretry: 2000\nid: CURSOR\n\n"},
		{"POST", "POST /stream/a HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n\r\nformat=bare&from=start", "\n\"one\\ntwo\"\n"},
		{"HTTP/1.0", "GET /stream/a?format=bare&from=start HTTP/1.0\r\n\r\n", "\n\"one\\ntwo\"\n"},
		{"HTTP/1.0 SSE", "GET /sse/a?format=bare&from=start HTTP/1.0\r\n\r\n", ": culvert\nretry: 2000\nid: a=0\n\nid: CURSOR\ndata: one\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			_, res, br := s.answer(tt.request)
			if chunked := len(res.TransferEncoding) > 0; chunked != res.ProtoAtLeast(1, 1) {
				t.Errorf("%s, chunked: %v", res.Proto, chunked)
			}
			page, err := s.hub.Read(t.Context(), hub.ReadRequest{Room: "a", Mode: hub.ReadLatest, Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tt.want, "CURSOR", hub.Cursor{{Room: "a", Position: page.Head}}.String())
			if before, after, ok := strings.Cut(want, "HELLO"); ok {
				line, err := br.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, before+`{"type":"hello"`) {
					t.Errorf("%q, %v", line, err)
				}
				want = after[1:]
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
				t.Errorf("got %q, %v\nwant %q", got, err, want)
			}
		})
	}
}

// TestProbe: who asks gets one heartbeat 300 ms after the first event, and the
// next one when it would have come anyway.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, transporttest.NewPipes(), hub.Options{})
		began := time.Now()
		heard := func(br *bufio.Reader) time.Duration {
			t.Helper()
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(line, `{"type":"heartbeat"`) {
					return time.Since(began)
				}
			}
		}
		_, _, asked := s.answer(get("/sse/a?probe=1&heartbeat=10"))
		_, _, lines := s.answer(get("/stream/a?probe=1&heartbeat=10"))
		_, _, plain := s.answer(get("/sse/a?heartbeat=10"))
		for name, br := range map[string]*bufio.Reader{"SSE": asked, "NDJSON": lines} {
			if after := heard(br); after != 300*time.Millisecond {
				t.Errorf("%s: the probe's heartbeat came after %v", name, after)
			}
		}
		for _, br := range []*bufio.Reader{asked, lines, plain} {
			if after := heard(br); after < 5*time.Second {
				t.Errorf("a heartbeat came after %v", after)
			}
		}
	})
}

// TestProbePolled: so too where one poller reads all connections.
func TestProbePolled(t *testing.T) {
	pl := poller.New()
	t.Cleanup(pl.Close) // After the connections, which start ends.
	s := start(t, loopback(t), hub.Options{})
	s.handler = stream.New(stream.Options{Hub: s.hub, Poller: pl})
	c, _, br := s.answer(get("/sse/a?probe=1&heartbeat=60"))
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	until(t, br, "event: heartbeat\n")
}

// TestRefused: what cannot be served is answered as plain HTTP.
func TestRefused(t *testing.T) {
	s := start(t, loopback(t), hub.Options{MaxSubscribers: 1, MaxRoomsPerSubscriber: 2})
	for _, tt := range []struct {
		path string
		code codes.Code
	}{{"/sse/a?cursor=x", codes.BadCursor}, {"/sse/a,b,c", codes.TooManyRooms}} {
		_, res, br := s.answer(get(tt.path))
		var body struct{ Error struct{ Code codes.Code } }
		if err := json.NewDecoder(br).Decode(&body); err != nil || res.StatusCode != 400 || body.Error.Code != tt.code ||
			res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: %v %+v %v", tt.path, res, body, err)
		}
	}
	_, _, br := s.answer(get("/sse/a"))
	until(t, br, "\n")
	_, res, _ := s.answer(get("/stream/a"))
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%v", res)
	}
}

// TestDrain: a node that goes down says so, and the answer ends as HTTP wants
// it.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, transporttest.NewPipes(), hub.Options{})
		type stream struct {
			path string
			br   *bufio.Reader
			bye  string
		}
		streams := []*stream{
			{path: "/sse/a", bye: "retry: "}, {path: "/sse/a?format=bare", bye: "retry: "},
			{path: "/stream/a", bye: `{"type":"bye","code":"draining",`}, {path: "/stream/a?format=bare"},
		}
		for _, st := range streams {
			_, _, st.br = s.answer(get(st.path))
			if _, err := st.br.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(st.path, "/sse") {
				until(t, st.br, "\n")
			}
		}
		go s.hub.Drain(t.Context(), time.Minute)
		for _, st := range streams {
			rest, err := io.ReadAll(st.br)
			if err != nil || !strings.HasPrefix(string(rest), st.bye) || st.bye == "" && len(rest) > 0 {
				t.Errorf("%s: ended with %q, %v", st.path, rest, err)
			}
		}
		if _, res, _ := s.answer(get("/sse/a")); res.StatusCode != 503 {
			t.Errorf("after the drain: %v", res)
		}
	})
}

// TestDrainAtOnce: a stream that is ended before it has begun is whole all the
// same.
func TestDrainAtOnce(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, transporttest.NewPipes(), hub.Options{})
			go s.hub.Drain(t.Context(), time.Minute)
			_, res, br := s.answer(get("/sse/a"))
			rest, err := io.ReadAll(br)
			switch {
			case err != nil:
				t.Errorf("%d %q, %v", res.StatusCode, rest, err)
			case res.StatusCode == 503:
			case res.StatusCode != 200 || !bytes.HasPrefix(rest, []byte(": culvert\n")) || !bytes.Contains(rest, []byte("\nevent: bye\n")):
				t.Errorf("%d %q", res.StatusCode, rest)
			}
		})
	}
}

// TestLeaving: who closes, closes half, or goes on sending is gone from the
// hub.
func TestLeaving(t *testing.T) {
	for name, leave := range map[string]func(c net.Conn){
		"closed": func(c net.Conn) { c.Close() },
		"sends on": func(c net.Conn) {
			for range 100 {
				if _, err := c.Write(make([]byte, 100)); err != nil {
					return
				}
			}
			panic("10,000 bytes were taken")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, transporttest.NewPipes(), hub.Options{})
			c, _, br := s.answer(get("/stream/a"))
			br.ReadString('\n')
			if n := s.hub.Stats().Subscribers["ndjson"]; n != 1 {
				t.Errorf("%d streams", n)
			}
			leave(c)
			synctest.Wait()
			if n := s.hub.Stats().Subscribers["ndjson"]; n != 0 {
				t.Errorf("%s: %d streams are left", name, n)
			}
		})
	}
	s := start(t, loopback(t), hub.Options{})
	c, _, br := s.answer(get("/stream/a"))
	br.ReadString('\n')
	c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(br); err == nil {
		t.Errorf("after half a close it ended whole, with %q", rest)
	}
}

// TestSlow: who reads nothing is ended after the write time-out.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, transporttest.NewPipes(), hub.Options{WriteTimeout: 10 * time.Second})
		s.raw(get("/sse/a")) // Not even the head is read.
		synctest.Wait()
		if n := s.hub.Stats().Subscribers["sse"]; n != 1 {
			t.Errorf("%d streams", n)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if st := s.hub.Stats(); st.Subscribers["sse"] != 0 || st.Slow != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestHTTP2: where the connection is not ours, the handler stays.
func TestHTTP2(t *testing.T) {
	s := start(t, nil, hub.Options{})
	web := httptest.NewUnstartedServer(s)
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	}}
	defer client.CloseIdleConnections()
	open := func(path string) (*http.Response, *bufio.Reader, context.CancelFunc) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", web.URL+path, nil)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close(); cancel() })
		return res, bufio.NewReader(res.Body), cancel
	}
	res, br, _ := open("/sse/a")
	if res.ProtoMajor != 2 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Connection") != "" {
		t.Errorf("%v", res)
	}
	until(t, br, "\n")
	_, leaving, cancel := open("/stream/a")
	leaving.ReadString('\n')
	for i := range 100 {
		s.publish("a", fmt.Sprint(i))
		if message := until(t, br, "\n"); !strings.Contains(message, fmt.Sprintf(`"offset":%d,`, i+1)) {
			t.Fatalf("%d: %q", i, message)
		}
	}
	cancel()
	for s.hub.Stats().Subscribers["ndjson"] != 0 {
		time.Sleep(time.Millisecond) // Nothing tells when the server has heard of it.
	}
	// A reader that does not read harms nobody.
	open("/sse/a")
	big := `"` + strings.Repeat("x", 60_000) + `"`
	for range 20 {
		s.publish("a", big)
		until(t, br, "\n")
	}
	go s.hub.Drain(t.Context(), 0)
	rest, err := io.ReadAll(br)
	if err != nil || !strings.HasPrefix(string(rest), "event: bye\n") {
		t.Errorf("ended with %q, %v", rest, err)
	}
}
