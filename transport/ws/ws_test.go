package ws_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/transporttest"
	"github.com/culvertd/culvert/transport/wire"
	"github.com/culvertd/culvert/transport/ws"
)

const pageHeartbeat = "--heartbeat--"

// server is a hub with nothing but WebSockets in front of it.
type server struct {
	t       testing.TB
	hub     *hub.Hub
	network transporttest.Network
	handler *ws.Handler
}

// start starts a server; the test's end stops it and finds what it left
// behind.
func start(t testing.TB, network transporttest.Network, ho hub.Options, o ws.Options) *server {
	t.Helper()
	store, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, store, network, ho, o)
}

// startOn starts a server on a store of the test's own, and closes it as well.
func startOn(t testing.TB, store hub.Store, network transporttest.Network, ho hub.Options, o ws.Options) *server {
	t.Helper()
	ho.Framings = wire.Framings(wire.Options{PageHeartbeat: pageHeartbeat})
	ho.NodeID = "n1"
	h, err := hub.New(store, ho)
	if err != nil {
		t.Fatal(err)
	}
	o.Hub, o.Server, o.PageHeartbeat = h, "culvert test", pageHeartbeat
	s := &server{t: t, hub: h, network: network, handler: ws.New(o)}
	web := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error)
	go func() { done <- web.Serve(network) }()
	t.Cleanup(func() {
		web.Close()
		<-done
		h.Close()
		store.Close()
		s.handler.Wait()
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if room, ok := strings.CutPrefix(r.URL.Path, "/page/"); ok {
		s.handler.ServeBare(w, r, room)
		return
	}
	q, e := read.Parse(r, strings.TrimPrefix(r.URL.Path, "/rooms/"), read.Limits{})
	if e != nil {
		s.handler.Refuse(w, r, e)
		return
	}
	s.handler.Serve(w, r, q)
}

// publish publishes without any transport.
func (s *server) publish(room, data string) {
	s.t.Helper()
	res := s.hub.Publish(context.Background(), []hub.Publish{{Room: room, Data: []byte(data)}})
	if res[0].Err != nil {
		s.t.Fatal(res[0].Err)
	}
}

// client is gorilla's.
type client struct {
	t testing.TB
	*websocket.Conn
	nc net.Conn
}

func (s *server) dial(path string) *client {
	s.t.Helper()
	var nc net.Conn
	d := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		nc, err = s.network.Dial(ctx)
		return nc, err
	}}
	c, _, err := d.Dial("ws://test"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return &client{t: s.t, Conn: c, nc: nc}
}

func (c *client) write(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// text reads one message.
func (c *client) text() string {
	c.t.Helper()
	kind, b, err := c.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		c.t.Fatalf("read: %d, %v", kind, err)
	}
	return string(b)
}

// envelope reads one envelope and checks its type.
func (c *client) envelope(kind string) map[string]any {
	c.t.Helper()
	text := c.text()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil || m["type"] != kind {
		c.t.Fatalf("got %s, want a %s", text, kind)
	}
	return m
}

// closed reads the end.
func (c *client) closed(code int) *websocket.CloseError {
	c.t.Helper()
	for {
		_, b, err := c.ReadMessage()
		if err == nil {
			if strings.Contains(string(b), `"type":"bye"`) {
				continue
			}
			c.t.Fatalf("got %s, want close %d", b, code)
		}
		var ce *websocket.CloseError
		if !errors.As(err, &ce) || ce.Code != code {
			c.t.Fatalf("got %v, want close %d", err, code)
		}
		return ce
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

// readers runs a test with a goroutine reading each connection, and with the
// poller reading all of them.
func readers(t *testing.T, test func(*testing.T, *poller.Poller)) {
	t.Run("goroutine", func(t *testing.T) { test(t, nil) })
	t.Run("poller", func(t *testing.T) {
		pl := poller.New()
		t.Cleanup(pl.Close)
		test(t, pl)
	})
}

func TestCommands(t *testing.T) { readers(t, testCommands) }

func testCommands(t *testing.T, pl *poller.Poller) {
	s := start(t, loopback(t), hub.Options{}, ws.Options{Publish: publish.Limits{Message: 100, Batch: 3}, Rooms: 3, Poller: pl})
	s.publish("old", `1`)
	s.publish("old", `2`)
	long := strings.Repeat("x", 100)
	for _, tt := range []struct {
		send string
		// want is what the reply, or the error frame, contains.
		want []string
	}{
		{`{"type":"publish","ref":1,"data":{"a": 1}}`, []string{`"ref":1,"ok":true,"room":"lobby","offset":1,`, `"duplicate":false}`}},
		{`{"type":"publish","ref":"x","room":"other","data":null,"key":"k"}`, []string{`"ref":"x","ok":true,"room":"other","offset":1,`}},
		{`{"type":"publish","ref":2,"room":"other","data":null,"key":"k"}`, []string{`"ok":true`, `"duplicate":true`}},
		{`{"type":"publish","ref":3,"room":"other","data":1,"key":"k"}`, []string{`"ok":false`, `"key_conflict"`}},
		{`{"type":"publish","ref":4,"room":"other","data":1,"ephemeral":true}`, []string{`"ok":true,"room":"other","id":`}},
		{`{"type":"publish","ref":5}`, []string{`"ref":5,"ok":false`, `"bad_command"`, `data is missing`}},
		{`{"type":"publish","ref":5,"room":1,"data":1}`, []string{`"bad_command"`, `room is not a string`}},
		{`{"type":"publish","ref":5,"room":"a/b","data":1}`, []string{`"bad_room"`}},
		{`{"type":"publish","ref":5,"data":"` + long + `"}`, []string{`"message_too_large"`}},
		{`{"type":"publish","ref":5,"data":1,"key":""}`, []string{`"bad_key"`}},
		{`{"type":"publish","ref":5,"data":1,"ephemeral":"yes"}`, []string{`"bad_command"`, "ephemeral"}},
		{`{"type":"publish","ref":6,"messages":[{"room":"a","data":1},{"room":"b!","data":2},{"data":3}]}`,
			[]string{`"ref":6,"ok":true,"results":[{"status":201,"room":"a","offset":1,`, `{"status":400,"error":{"code":"bad_room"`, `{"status":201,"room":"lobby",`}},
		{`{"type":"publish","ref":6,"messages":[1]}`, []string{`"ok":false`, `"bad_json"`}},
		{`{"type":"publish","ref":6,"messages":{}}`, []string{`"ok":false`, `"bad_json"`}},
		{`{"type":"publish","ref":6,"messages":[{"room":"a","data":1},{"room":"a","data":1},{"room":"a","data":1},{"room":"a","data":1}]}`, []string{`"batch_too_large"`}},
		{`{"type":"publish","data":1,"room":"no!"}`, []string{`{"type":"error","error":{"code":"bad_room"`}},
		{`{"type":"subscribe","ref":7,"room":"lobby","from":"start"}`, []string{`"ok":true,"rooms":["lobby"],"cursor":"lobby=`}},
		{`{"type":"subscribe","ref":7,"room":"x","cursor":"nonsense"}`, []string{`"bad_cursor"`}},
		{`{"type":"subscribe","ref":7,"room":"x","from":"end"}`, []string{`"bad_parameter"`, "start"}},
		{`{"type":"subscribe","ref":7,"room":"x","last":-1}`, []string{`"bad_command"`, "last"}},
		{`{"type":"subscribe","ref":7,"rooms":["a","b","c","d"]}`, []string{`"too_many_rooms"`}},
		{`{"type":"subscribe","ref":7,"rooms":[]}`, []string{`"bad_command"`, "rooms"}},
		{`{"type":"subscribe","ref":7,"rooms":[1]}`, []string{`"bad_command"`, "rooms"}},
		{`{"type":"subscribe","ref":7,"rooms":"a"}`, []string{`"bad_command"`, "rooms"}},
		{`{"type":"subscribe","ref":7,"rooms":["a"],"room":"a"}`, []string{`"bad_command"`, "exclude"}},
		{`{"type":"subscribe","ref":7}`, []string{`"bad_command"`, "room is missing"}},
		{`{"type":"subscribe","ref":7,"room":"bad room"}`, []string{`"bad_room"`}},
		{`{"type":"unsubscribe","ref":8,"room":"old"}`, []string{`"not_subscribed"`}},
		{`{"type":"presence","ref":9,"room":"old"}`, []string{`"ok":true,"room":"old","members":[],"count":0`}},
		{`{"type":"presence","ref":9,"room":"old","limit":1001}`, []string{`"bad_command"`, "limit"}},
		{`{"type":"presence","ref":9}`, []string{`room is missing`}},
		{`{"type":"history","ref":10,"room":"old","limit":1}`, []string{`"ok":true,"room":"old","messages":[{"type":"message"`, `"offset":2,`, `"more":true`}},
		{`{"type":"history","ref":10,"room":"old","from":"start","limit":1}`, []string{`"offset":1,`, `"more":true`}},
		{`{"type":"history","ref":10,"room":"old","after":"0"}`, []string{`"data":1},{`, `"data":2}]`, `"more":false`}},
		{`{"type":"history","ref":10,"room":"old","after":"old=x"}`, []string{`"bad_cursor"`}},
		{`{"type":"history","ref":10,"room":"old","limit":0}`, []string{`"bad_command"`, "limit"}},
		{`{"type":"ping","ref":11}`, []string{`"ref":11,"ok":true,"time":`}},
		{`{"type":"ping","ref":11,"data":[null],"size":5}`, []string{`"data":[null],"time":`, `"fill":"....."}`}},
		{`{"type":"ping","ref":11,"data":null}`, []string{`"data":null,`}},
		{`{"type":"ping","ref":11,"size":65537}`, []string{`"bad_command"`, "size"}},
		{`{"type":"ping","ref":11,"size":1.5}`, []string{`"bad_command"`, "size"}},
		{`{"type":"ping","ref":-12,"unknown":{"deep":[1,{"ref":3}]},"limit":"x"}`, []string{`"ref":-12,"ok":true`}},
		{`{"type":"fly","ref":12}`, []string{`"ref":12,"ok":false`, `"unknown_command"`, `publish, subscribe`}},
		{`{"type":"fly"}`, []string{`{"type":"error","error":{"code":"unknown_command"`}},
		{`{"type":7,"ref":12}`, []string{`"ref":12,"ok":false`, `"bad_command"`, "type"}},
		{`{"ref":12}`, []string{`"ref":12,"ok":false`, `"bad_command"`, "type"}},
		{`{"type":"ping","ref":{}}`, []string{`"type":"error"`, `"bad_ref"`}},
		{`{"type":"ping","ref":1.5}`, []string{`"type":"error"`, `"bad_ref"`}},
		{`{"type":"ping","ref":"` + long + `"}`, []string{`"type":"error"`, `"bad_ref"`}},
		{`[]`, []string{`"type":"error"`, `"bad_command"`}},
		{`"publish"`, []string{`"type":"error"`, `"bad_command"`}},
		{``, []string{`"type":"error"`, `"bad_json"`}},
		{`{"type":"ping"`, []string{`"type":"error"`, `"bad_json"`}},
		{`{"type":"ping"} {}`, []string{`"type":"error"`, `"bad_json"`}},
		{strings.Repeat("[", 100_000), []string{`"type":"error"`, `"bad_json"`}},
	} {
		// Each on a connection of its own, and then a ping on the same: the
		// connection has stayed.
		c := s.dial("/rooms/lobby")
		c.envelope("hello")
		c.write(tt.send)
		c.write(`{"type":"ping","ref":"last"}`)
		var reply string
		for reply == "" {
			if text := c.text(); !strings.HasPrefix(text, `{"type":"message"`) {
				reply = text
			}
		}
		for _, want := range tt.want {
			if !strings.Contains(reply, want) || !json.Valid([]byte(reply)) {
				t.Errorf("%.100s:\n got %s\nwant %s", tt.send, reply, want)
			}
		}
		for {
			if text := c.text(); strings.HasPrefix(text, `{"type":"reply","ref":"last","ok":true`) {
				break
			}
		}
		c.Close()
	}
}

// TestSubscribe: messages of joined rooms follow the reply; what was left can
// be come back to.
func TestSubscribe(t *testing.T) { readers(t, testSubscribe) }

func testSubscribe(t *testing.T, pl *poller.Poller) {
	s := start(t, loopback(t), hub.Options{}, ws.Options{Poller: pl})
	for range 3 {
		s.publish("b", `"old"`)
	}
	c := s.dial("/rooms/a")
	c.envelope("hello")
	c.write(`{"type":"subscribe","ref":1,"rooms":["b","a"],"last":2}`)
	if r := c.envelope("reply"); r["ok"] != true {
		t.Fatal(r)
	}
	for want := 2.0; want <= 3; want++ {
		if m := c.envelope("message"); m["room"] != "b" || m["offset"] != want {
			t.Errorf("got %v, want offset %v", m, want)
		}
	}
	c.write(`{"type":"unsubscribe","ref":2,"room":"b"}`)
	left := c.envelope("reply")
	s.publish("b", `"missed"`)
	s.publish("a", `"here"`)
	if m := c.envelope("message"); m["room"] != "a" {
		t.Errorf("got %v", m)
	}
	back, _ := json.Marshal(map[string]any{"type": "subscribe", "ref": 3, "room": "b", "cursor": left["cursor"]})
	c.write(string(back))
	if r := c.envelope("reply"); r["cursor"] != left["cursor"] {
		t.Errorf("back at %v, left at %v", r["cursor"], left["cursor"])
	}
	if m := c.envelope("message"); m["room"] != "b" || m["offset"] != 4.0 {
		t.Errorf("got %v", m)
	}
}

// TestBadFrames: what is not the protocol closes the connection, with a code
// that says so, and after whole frames.
func TestBadFrames(t *testing.T) { readers(t, testBadFrames) }

func testBadFrames(t *testing.T, pl *poller.Poller) {
	s := start(t, loopback(t), hub.Options{}, ws.Options{MaxFrame: 1000, Poller: pl})
	masked := func(first byte, payload string) []byte {
		return append([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	}
	for _, tt := range []struct {
		name string
		raw  []byte
		code int
	}{
		{"binary", masked(0x82, "{}"), websocket.CloseUnsupportedData},
		{"not UTF-8", masked(0x81, "\xff"), websocket.CloseInvalidFramePayloadData},
		{"not UTF-8 in JSON", masked(0x81, "{\"type\":\"\xc3\x28\"}"), websocket.CloseInvalidFramePayloadData},
		{"over the limit", []byte{0x81, 0xfe, 0x03, 0xe9, 0, 0, 0, 0}, websocket.CloseMessageTooBig},
		{"over every limit", []byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, websocket.CloseMessageTooBig},
		{"over the limit in parts", append(append(masked(0x01, "x"), 0x00, 0xfe, 0x03, 0xe8, 0, 0, 0, 0), make([]byte, 1000)...), websocket.CloseMessageTooBig},
		{"not masked", []byte{0x81, 0x02, '{', '}'}, websocket.CloseProtocolError},
		{"reserved bit", masked(0xc1, "{}"), websocket.CloseProtocolError},
		{"unknown opcode", masked(0x83, "{}"), websocket.CloseProtocolError},
		{"long control frame", []byte{0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0}, websocket.CloseProtocolError},
		{"continuation of nothing", masked(0x80, "{}"), websocket.CloseProtocolError},
		{"close", masked(0x88, "\x03\xe8bye"), websocket.CloseNormalClosure},
		{"close with its own code", masked(0x88, "\x0f\xa1bye"), 4001},
		{"close without a code", masked(0x88, ""), websocket.CloseNoStatusReceived},
		{"after a command", append(masked(0x81, `{"type":"ping"}`), masked(0x82, "")...), websocket.CloseUnsupportedData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			c := s.dial("/rooms/lobby?from=start")
			c.envelope("hello")
			if _, err := c.nc.Write(tt.raw); err != nil {
				t.Fatal(err)
			}
			c.closed(tt.code)
			// And then the server lets go.
			c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := c.nc.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after the close: %d bytes, %v", n, err)
			}
		})
	}
}

// TestRefused: a request that is refused is told why on the WebSocket.
func TestRefused(t *testing.T) { readers(t, testRefused) }

func testRefused(t *testing.T, pl *poller.Poller) {
	s := start(t, loopback(t), hub.Options{MaxSubscribers: 1}, ws.Options{Poller: pl})
	refused := func(path, code string, closeCode int) {
		t.Helper()
		c := s.dial(path)
		if e := c.envelope("error"); e["error"].(map[string]any)["code"] != code {
			t.Errorf("%s: %v", path, e)
		}
		if ce := c.closed(closeCode); !strings.HasPrefix(ce.Text, code) {
			t.Errorf("%s: closed with %q", path, ce.Text)
		}
	}
	refused("/rooms/bad!", "bad_room", 4410)
	refused("/rooms/a?cursor=x", "bad_cursor", 4411)
	refused("/rooms/a?heartbeat=0", "bad_parameter", 4412)
	several := s.dial("/rooms/a,b?cursor=a=0,b=x")
	if e := several.envelope("error")["error"].(map[string]any); e["code"] != "bad_cursor" || e["room"] != "b" {
		t.Errorf("one of several rooms: %v", e)
	}
	several.closed(4411)
	s.dial("/page/bad!").closed(4410)
	s.dial("/rooms/bad!?format=bare").closed(4410)

	c := s.dial("/rooms/a")
	c.envelope("hello")
	refused("/rooms/a", "too_many_connections", 4101)
	c.Close()
}

// TestBadHandshake: without a handshake the answer is HTTP.
func TestBadHandshake(t *testing.T) { readers(t, testBadHandshake) }

func testBadHandshake(t *testing.T, pl *poller.Poller) {
	s := start(t, loopback(t), hub.Options{}, ws.Options{Poller: pl})
	good := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}
	for _, tt := range []struct{ name, value string }{
		{"Connection", ""}, {"Upgrade", ""}, {"Sec-WebSocket-Version", ""}, {"Sec-WebSocket-Version", "8"}, {"Sec-WebSocket-Version", "14"},
		{"Sec-WebSocket-Key", ""}, {"Sec-WebSocket-Key", "short"},
	} {
		for _, path := range []string{"/rooms/a", "/rooms/bad!", "/page/a"} {
			r, err := http.NewRequest(http.MethodGet, "http://"+s.network.Addr().String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range good {
				r.Header.Set(name, value)
			}
			r.Header.Del(tt.name)
			if tt.value != "" {
				r.Header.Set(tt.name, tt.value)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ Error codes.Error }
			err = json.NewDecoder(res.Body).Decode(&body)
			res.Body.Close()
			if err != nil || res.StatusCode != 400 || body.Error.Code != codes.BadUpgrade || res.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("%s with %s: %q: %d %v %+v %v", path, tt.name, tt.value, res.StatusCode, res.Header, body, err)
			}
		}
	}
}

// TestPage: pages that know nothing of Culvert.
func TestPage(t *testing.T) { readers(t, testPage) }

func testPage(t *testing.T, pl *poller.Poller) {
	s := start(t, loopback(t), hub.Options{}, ws.Options{Publish: publish.Limits{Message: 100}, Poller: pl})
	for _, path := range []string{"/page/lobby", "/rooms/lobby?format=bare"} {
		a, b := s.dial(path), s.dial(path)
		reader := s.dial("/rooms/lobby")
		hello := reader.envelope("hello")
		if hello["server"] != "culvert test" || hello["node"] != "n1" || hello["heartbeat"] != 15.0 {
			t.Errorf("hello is %v", hello)
		}
		a.write(`{"message": "hi"}`)
		a.write("")
		a.write("no \"JSON\"\n")
		for _, c := range []*client{a, b} {
			if got := c.text(); got != `{"message":"hi"}` {
				t.Errorf("got %s", got)
			}
			if got := c.text(); got != "no \"JSON\"\n" {
				t.Errorf("got %q", got)
			}
		}
		if m := reader.envelope("message"); m["data"].(map[string]any)["message"] != "hi" {
			t.Errorf("got %v", m)
		}
		if m := reader.envelope("message"); m["data"] != "no \"JSON\"\n" {
			t.Errorf("got %v", m)
		}
		b.write(strings.Repeat("x", 101))
		b.closed(4400)
		if err := a.WriteMessage(websocket.BinaryMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		a.closed(websocket.CloseUnsupportedData)
		reader.Close()
	}
	// The heartbeat of a page is answered, and not published.
	c := s.dial("/page/beat")
	c.write(pageHeartbeat)
	c.write("after it")
	if got := c.text(); got != pageHeartbeat {
		t.Errorf("got %q", got)
	}
	if got := c.text(); got != "after it" {
		t.Errorf("got %q", got)
	}
	// Elsewhere it is a text like any other.
	d := s.dial("/rooms/beat?format=bare")
	d.write(pageHeartbeat)
	if got := d.text(); got != pageHeartbeat {
		t.Errorf("got %q", got)
	}
	if got := c.text(); got != pageHeartbeat {
		t.Errorf("got %q", got)
	}
}
