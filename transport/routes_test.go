package transport

import (
	"strconv"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
)

func TestAcceptChoosesTheTransport(t *testing.T) {
	tests := []struct {
		accept string
		want   kind
	}{
		{"", kindPoll},
		{"*/*", kindPoll},
		{"application/json", kindPoll},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", kindPoll},
		{"text/event-stream", kindSSE},
		{"Text/Event-Stream; charset=utf-8", kindSSE},
		{"text/event-stream, */*", kindSSE},
		{"*/*, text/event-stream", kindSSE},
		{"text/event-stream;q=0.5, */*;q=0.1", kindSSE},
		{"text/event-stream;q=0.5, application/json", kindPoll},
		{"text/event-stream;q=0.5, */*", kindPoll},
		{"application/json, text/event-stream", kindPoll},
		{"text/event-stream, application/json", kindSSE},
		{"text/event-stream;q=0", kindPoll},
		{"application/x-ndjson", kindNDJSON},
		{"application/x-ndjson;q=0.9, text/event-stream;q=0.8", kindNDJSON},
		{"text/event-stream;q=nonsense", kindSSE},
		{"text/*", kindPoll},
		{"text/plain", kindPoll},
		{", ,;q=1,", kindPoll},
	}
	for _, tt := range tests {
		if got := choose([]string{tt.accept}); got != tt.want {
			t.Errorf("Accept: %s chooses %d, want %d", tt.accept, got, tt.want)
		}
	}
	if got := choose([]string{"application/json;q=0.1", "text/event-stream"}); got != kindSSE {
		t.Errorf("two headers choose %d", got)
	}
}

func TestRoutes(t *testing.T) {
	s := newService(t, Options{BarePaths: []string{"/ws/chat/{room}/", "/x/{room}/live"}})
	upgrade := []string{"Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket", "Sec-WebSocket-Key", "x"}
	sse := []string{"Accept", "text/event-stream"}
	tests := []struct {
		method, target string
		headers        []string
		want           string // a transport, or a status
	}{
		{"GET", "/rooms/a", upgrade, "ws"},
		{"GET", "/rooms/a", append(sse, upgrade...), "ws"},
		{"GET", "/rooms/a,b", upgrade, "ws"},
		{"GET", "/rooms/a%2Cb", upgrade, "ws"},
		{"GET", "/rooms/a?last=x", upgrade, "ws refuses bad_parameter"},
		{"GET", "/rooms/a%20b", upgrade, "ws refuses bad_room"},
		{"GET", "/rooms/a", []string{"Sec-WebSocket-Key", "x"}, "426"},
		{"GET", "/rooms/a/ws", nil, "426"},
		{"GET", "/rooms/a/ws", upgrade, "ws"},
		{"GET", "/rooms/a", sse, "sse"},
		{"GET", "/rooms/a", []string{"Accept", "application/x-ndjson"}, "ndjson"},
		{"GET", "/rooms/a/sse", nil, "sse"},
		{"POST", "/rooms/a/sse", nil, "sse"},
		{"GET", "/rooms/a/sse", upgrade, "sse"},
		{"GET", "/rooms/a/stream", sse, "ndjson"},
		{"POST", "/rooms/a/stream", nil, "ndjson"},
		{"GET", "/rooms/a/sse?last=x", nil, "400"},
		{"GET", "/rooms/a?wait=0", nil, "200"},
		{"GET", "/rooms/a/poll?wait=0", sse, "200"},
		{"POST", "/rooms/a/poll?wait=0", nil, "200"},
		{"GET", "/rooms/a/history", nil, "200"},
		{"GET", "/rooms/a/presence", nil, "200"},
		{"GET", "/rooms/a/stats", nil, "200"},
		{"GET", "/stats", nil, "200"},
		{"GET", "/healthz", nil, "200"},
		{"HEAD", "/healthz", nil, "200"},
		{"GET", "/readyz", nil, "200"},
		{"HEAD", "/readyz", nil, "200"},
		{"HEAD", "/stats", nil, "200"},
		{"HEAD", "/rooms/a/history", nil, "200"},
		{"HEAD", "/rooms/a/history?limit=x", nil, "400"},
		{"HEAD", "/rooms/a/presence", nil, "200"},
		{"HEAD", "/rooms/a/stats", nil, "200"},
		{"GET", "/ws/chat/lobby", upgrade, "bare ws of lobby"},
		{"GET", "/ws/chat/lobby", nil, "426"},
		{"GET", "/ws/chat/a,b", upgrade, "bare ws of a,b"},
		{"GET", "/x/lobby/live", upgrade, "bare ws of lobby"},

		{"GET", "/", nil, "404"},
		{"GET", "/rooms", nil, "404"},
		{"GET", "/rooms/a/nothing", nil, "404"},
		{"GET", "/rooms/a/b/poll", nil, "404"},
		{"GET", "/favicon.ico", nil, "404"},
		{"HEAD", "/rooms/a", nil, "405"},
		{"HEAD", "/rooms/a/poll", nil, "405"},
		{"HEAD", "/rooms/a/sse", nil, "405"},
		{"PUT", "/rooms/a", nil, "405"},
		{"DELETE", "/rooms/a", nil, "405"},
		{"POST", "/rooms/a/history", nil, "405"},
		{"POST", "/rooms/a/ws", upgrade, "405"},
		{"GET", "/publish", nil, "405"},
		{"POST", "/stats", nil, "405"},
		{"OPTIONS", "/stats", nil, "405"},
	}
	for _, tt := range tests {
		targets := []string{tt.target}
		if path, query, _ := strings.Cut(tt.target, "?"); tt.want != "404" {
			targets = append(targets, path+"/?"+query)
		}
		for _, target := range targets {
			w := s.do(tt.method, target, "", tt.headers...)
			if name := w.Header().Get("X-Transport"); name != "" {
				if name != tt.want {
					t.Errorf("%s %s: went to %s, want %s", tt.method, target, name, tt.want)
				}
				continue
			}
			if strconv.Itoa(w.Code) != tt.want {
				t.Errorf("%s %s: status %d, want %s", tt.method, target, w.Code, tt.want)
				continue
			}
			if w.Code >= 400 && tt.method != "HEAD" {
				a := s.decode(w, w.Code)
				if a.Error == nil || a.Error.Code == "" || a.Error.Message == "" {
					t.Errorf("%s %s: %s", tt.method, target, w.Body)
				}
			}
		}
	}
}

func TestMethodsAreNamed(t *testing.T) {
	s := newService(t, Options{})
	for target, want := range map[string]string{"/rooms/a": "GET POST", "/publish": "POST", "/healthz": "GET HEAD", "/rooms/a/poll": "GET POST", "/rooms/a/ws/": "GET", "/rooms/a/history": "GET HEAD"} {
		w := s.do("PATCH", target, "")
		a := s.decode(w, 405)
		allow := w.Header().Get("Allow")
		if a.Error.Code != "unsupported_method" || a.Error.Allowed != allow {
			t.Errorf("%s: %+v, Allow: %s", target, a.Error, allow)
		}
		got := strings.Split(allow, ", ")
		for _, method := range strings.Fields(want) {
			if !strings.Contains(allow, method) || len(got) != len(strings.Fields(want)) {
				t.Errorf("%s: Allow: %s, want %s", target, allow, want)
			}
		}
	}
}

// Whoever comes with names that have slashes, such as topics that are URLs, is told.
func TestSlashInARoomsName(t *testing.T) {
	s := newService(t, Options{})
	for _, target := range []string{"/rooms/https://example.com/books/1", "/rooms/a%2Fb"} {
		if a := s.decode(s.do("POST", target, "x"), 404); !strings.Contains(a.Error.Message, "a room's name has no / in it") {
			t.Errorf("%s: %+v", target, a.Error)
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	good := []Options{
		{},
		{AllowOrigins: []string{"*", "null", "https://a.example", "http://a.example:8080", "http://[::1]:3000"}},
		{BarePaths: []string{"/ws/chat/{room}/", "/ws/{room}", "/a/{room}/b"}},
	}
	for _, o := range good {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := New(new(hub.Hub), standIns(), o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := New(new(hub.Hub), Transports{WebSocket: standIn{}}, Options{}); err == nil {
		t.Error("a server without streams is accepted")
	}
	bad := []Options{
		{AllowOrigins: []string{"a.example"}},
		{AllowOrigins: []string{"https://a.example/"}},
		{AllowOrigins: []string{"https://A.example"}},
		{AllowOrigins: []string{""}},
		{AllowOrigins: []string{"https://*.a.example"}}, // it would let nobody in
		{BarePaths: []string{""}},
		{BarePaths: []string{"ws/{room}"}},
		{BarePaths: []string{"/ws/room"}},
		{BarePaths: []string{"/{room}"}},
		{BarePaths: []string{"/ws/{room}/{room}"}},
		{BarePaths: []string{"/ws/x{room}/"}},
		{BarePaths: []string{"/ws//{room}/"}},
		{BarePaths: []string{"/ws/:x/{room}/"}},
		{BarePaths: []string{"/ws/*/{room}/"}},
		{BarePaths: []string{"/ws/../{room}/"}},
		{BarePaths: []string{"/rooms/{room}/live"}},
		{BarePaths: []string{"/healthz/{room}"}},
		{BarePaths: []string{"/doctor/{room}"}},
		{BarePaths: []string{"/pages/{room}/"}},
		{BarePaths: []string{"/ws/{room}", "/ws/{room}/"}},
		{PublishTimeout: -1},
	}
	for _, o := range bad {
		if _, err := New(new(hub.Hub), standIns(), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
