package transport

import (
	"net/http"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
)

func TestOrigins(t *testing.T) {
	named := Options{AllowOrigins: []string{"https://app.example"}}
	tests := []struct {
		name    string
		o       Options
		host    string
		headers []string
		allowed bool
	}{
		{"none", Options{}, "a.example", nil, true},
		{"same", Options{}, "a.example", []string{"Origin", "https://a.example"}, true},
		{"same with port", Options{}, "a.example:8080", []string{"Origin", "http://a.example:8080"}, true},
		{"same in capitals", Options{}, "A.example", []string{"Origin", "https://a.example"}, true},
		{"default port in Host", Options{}, "a.example:443", []string{"Origin", "https://a.example"}, true},
		{"another port", Options{}, "a.example:8080", []string{"Origin", "http://a.example"}, false},
		{"the browser says same", Options{}, "inner:9", []string{"Origin", "https://a.example", "Sec-Fetch-Site", "same-origin"}, true},
		{"the browser says cross", Options{}, "inner:9", []string{"Origin", "https://a.example", "Sec-Fetch-Site", "cross-site"}, false},
		{"sibling", Options{}, "a.example", []string{"Origin", "https://b.a.example", "Sec-Fetch-Site", "same-site"}, false},
		{"foreign", Options{}, "a.example", []string{"Origin", "https://evil.example"}, false},
		{"prefix", Options{}, "a.example", []string{"Origin", "https://a.example.evil"}, false},
		{"null", Options{}, "a.example", []string{"Origin", "null"}, false},
		{"empty", Options{}, "a.example", []string{"Origin", ""}, false},
		{"two", Options{}, "a.example", []string{"Origin", "https://a.example", "Origin", "https://evil.example"}, false},
		{"named", named, "a.example", []string{"Origin", "https://app.example"}, true},
		{"named, other scheme", named, "a.example", []string{"Origin", "http://app.example"}, false},
		{"all", Options{AllowOrigins: []string{"*"}}, "a.example", []string{"Origin", "https://evil.example"}, true},
		{"all, as no browser calls itself", Options{AllowOrigins: []string{"*"}}, "a.example", []string{"Origin", "*"}, true},
		{"all, and named", Options{AllowOrigins: []string{"*", "https://app.example"}}, "a.example", []string{"Origin", "https://evil.example"}, true},
		{"named beside all", Options{AllowOrigins: []string{"*", "https://app.example"}}, "a.example", []string{"Origin", "https://app.example"}, true},
		{"all, null", Options{AllowOrigins: []string{"*"}}, "a.example", []string{"Origin", "null"}, true},
		{"loopback not meant", Options{}, "localhost:8080", []string{"Origin", "http://localhost:3000"}, false},
		{"localhost", Options{LoopbackOrigins: true}, "localhost:8080", []string{"Origin", "http://localhost:3000"}, true},
		{"127.0.0.1", Options{LoopbackOrigins: true}, "localhost:8080", []string{"Origin", "http://127.0.0.1:3000"}, true},
		{"[::1]", Options{LoopbackOrigins: true}, "localhost:8080", []string{"Origin", "http://[::1]"}, true},
		{"name below localhost", Options{LoopbackOrigins: true}, "localhost:8080", []string{"Origin", "http://app.localhost:3000"}, true},
		{"name like localhost", Options{LoopbackOrigins: true}, "localhost:8080", []string{"Origin", "http://localhost.evil.example"}, false},
		{"name like an address", Options{LoopbackOrigins: true}, "localhost:8080", []string{"Origin", "http://127.0.0.1.evil.example"}, false},
	}
	for _, tt := range tests {
		s := newService(t, tt.o)
		for _, target := range []string{"/healthz", "/rooms/a/sse", "/rooms/a/poll?wait=0"} {
			w := s.do("GET", "http://"+tt.host+target, "", tt.headers...)
			if got := w.Code == 200; got != tt.allowed {
				t.Errorf("%s: %s is answered %d", tt.name, target, w.Code)
			}
			shown := w.Header().Get("Access-Control-Allow-Origin")
			if want := tt.allowed && tt.headers != nil; (shown != "") != want || want && shown != tt.headers[1] {
				t.Errorf("%s: Access-Control-Allow-Origin: %q", tt.name, shown)
			}
			// Whoever is let in as everybody may not ask with credentials.
			if got, want := w.Header().Get("Access-Control-Allow-Credentials"), shown != "" && !strings.HasPrefix(tt.name, "all"); (got == "true") != want || got != "" && !want {
				t.Errorf("%s: Access-Control-Allow-Credentials: %q", tt.name, got)
			}
			if !tt.allowed {
				if a := s.decode(w, 403); a.Error.Code != "origin_not_allowed" {
					t.Errorf("%s: %+v", tt.name, a.Error)
				}
			}
			if !strings.Contains(w.Header().Get("Vary"), "Origin") {
				t.Errorf("%s: Vary: %s", tt.name, w.Header().Get("Vary"))
			}
		}
	}
}

// Browsers show nobody why a WebSocket or a request of another origin failed, so
// that the log has to, and cannot be filled by whoever has a page.
func TestRefusedOriginsAreLogged(t *testing.T) {
	s := newService(t, Options{})
	s.do("GET", "http://a.example/rooms/a/ws", "", "Origin", "http://a.example:8600") // a proxy that dropped the port
	for range 100 {
		s.do("GET", "http://a.example/rooms/a/ws", "", "Origin", "http://evil.example/"+strings.Repeat("x", 10_000))
	}
	log := s.log.String()
	for _, want := range []string{"level=WARN", "--allow-origin", "origin=http://a.example:8600", "host=a.example", "path=/rooms/a/ws"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in the log: %s", want, log)
		}
	}
	if n := strings.Count(log, "level=WARN"); n != 1 {
		t.Errorf("%d lines about origins", n)
	}
	other := newService(t, Options{})
	other.do("GET", "/rooms/a", "", "Origin", "http://"+strings.Repeat("x", 10_000))
	if log := other.log.String(); !strings.Contains(log, "origin refused") || len(log) > 1000 {
		t.Errorf("a long origin makes a line of %d bytes", len(log))
	}
}

// A page that cannot read an answer cannot know what to do about it, so that
// every status carries the headers that let it.
func TestCORSOnEveryStatus(t *testing.T) {
	s := newService(t, Options{})
	origin := []string{"Origin", "http://example.com"} // httptest's Host
	tests := []struct {
		method, target, body string
		headers              []string
		status               int
	}{
		{"POST", "/rooms/a", "1", []string{"Idempotency-Key", "k"}, 201},
		{"POST", "/rooms/a", "1", []string{"Idempotency-Key", "k"}, 200},
		{"POST", "/rooms/a", "2", []string{"Idempotency-Key", "k"}, 422},
		{"POST", "/publish", "[]", nil, 200},
		{"GET", "/rooms/a?wait=0", "", nil, 200},
		{"GET", "/rooms/a?wait=x", "", nil, 400},
		{"GET", "/rooms/a/ws", "", nil, 426},
		{"GET", "/rooms/a/history", "", nil, 200},
		{"GET", "/rooms/a/presence", "", nil, 200},
		{"GET", "/rooms/a/stats", "", nil, 200},
		{"GET", "/stats", "", nil, 200},
		{"GET", "/healthz", "", nil, 200},
		{"GET", "/readyz", "", nil, 200},
		{"GET", "/nothing", "", nil, 404},
		{"PUT", "/rooms/a", "", nil, 405},
		{"OPTIONS", "/rooms/a", "", nil, 405},
		{"POST", "/rooms/a", strings.Repeat("x", 64<<10+1), nil, 413},
		{"POST", "/rooms/a", "x", []string{"Content-Encoding", "gzip"}, 415},
	}
	check := func(method, target string, w interface{ Header() http.Header }) {
		t.Helper()
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") != "http://example.com" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Expose-Headers") != "Retry-After" || !strings.Contains(h.Get("Vary"), "Origin") {
			t.Errorf("%s %s: headers %v", method, target, h)
		}
	}
	for _, tt := range tests {
		w := s.do(tt.method, tt.target, tt.body, append(tt.headers, origin...)...)
		if w.Code != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.target, w.Code, tt.status)
		}
		check(tt.method, tt.target, w)
	}
	s.store.fail(hub.ErrUnavailable)
	for _, target := range []string{"/readyz", "/rooms/a/history"} {
		w := s.do("GET", target, "", origin...)
		s.decode(w, 503)
		check("GET", target, w)
	}
	if vary := s.do("GET", "/rooms/a?wait=0", "").Header().Get("Vary"); !strings.Contains(vary, "Accept") {
		t.Errorf("Vary: %s where Accept chooses", vary)
	}
}

func TestPreflight(t *testing.T) {
	s := newService(t, Options{})
	for _, target := range []string{"/rooms/a", "/publish", "/rooms/a/poll/", "/nothing"} {
		w := s.do("OPTIONS", target, "", "Origin", "http://example.com",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "idempotency-key,content-type")
		h := w.Header()
		if w.Code != 204 || w.Body.Len() != 0 || h.Get("Access-Control-Allow-Origin") != "http://example.com" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Max-Age") != "86400" {
			t.Errorf("%s: %d %v", target, w.Code, h)
		}
		for _, name := range []string{"Idempotency-Key", "Content-Type", "Last-Event-ID", "Authorization"} {
			if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("%s: %s is not among %s", target, name, h.Get("Access-Control-Allow-Headers"))
			}
		}
		for _, method := range []string{"GET", "POST"} {
			if !strings.Contains(h.Get("Access-Control-Allow-Methods"), method) {
				t.Errorf("%s: %s is not among %s", target, method, h.Get("Access-Control-Allow-Methods"))
			}
		}
	}
	w := s.do("OPTIONS", "/rooms/a", "", "Origin", "http://evil.example", "Access-Control-Request-Method", "POST")
	if w.Code != 403 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page's preflight: %d %v", w.Code, w.Header())
	}
}
