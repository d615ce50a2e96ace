package transport

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	s := newService(t, Options{})
	w := s.do("POST", "/doctor/echo?n=a1&size=10", "hello",
		"Authorization", "Bearer hunter2", "Cookie", "session=hunter2", "Via", "1.1 gate", "Via", "1.0 wall",
		"Idempotency-Key", strings.Repeat("k", 300), "X-Own", "hunter2")
	if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("a secret is told: %s", w.Body)
	}
	var got struct {
		Echo, ID, Method, Protocol, Host, Client, Fill string
		Target, Body                                   int
		Headers                                        map[string]any
		Time                                           int64
		Uptime                                         *int64
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Echo != "a1" || got.ID == "" || got.Method != "POST" || got.Protocol != "HTTP/1.1" || got.Host != "example.com" ||
		got.Client != "192.0.2.1" || got.Fill != "xxxxxxxxxx" || got.Target != 25 || got.Body != 5 || got.Time == 0 || got.Uptime == nil || *got.Uptime < 0 || *got.Uptime > 60_000 {
		t.Errorf("%s", w.Body)
	}
	s.began = s.began.Add(-30 * 24 * time.Hour)
	if w := s.do("GET", "/doctor/echo", ""); !strings.Contains(w.Body.String(), `"uptime":3600000`) {
		t.Errorf("more is told of the server's age than a doctor needs: %s", w.Body)
	}
	for name, want := range map[string]any{
		"authorization": true, "cookie": true, "x-own": true, "via": "1.1 gate, 1.0 wall", "idempotency-key": strings.Repeat("k", 200),
	} {
		if got.Headers[name] != want {
			t.Errorf("%s: %v, want %v", name, got.Headers[name], want)
		}
	}
	for _, tt := range []struct {
		method, target, body string
		want                 int
	}{
		{"GET", "/doctor/echo", "", 200}, {"PUT", "/doctor/echo/", "x", 200}, {"DELETE", "/doctor/echo", "", 200},
		{"OPTIONS", "/doctor/echo", "", 200}, {"PATCH", "/doctor/echo", "x", 200}, {"HEAD", "/doctor/echo", "", 200},
		{"GET", "/doctor/echo?n=a%20b", "", 400}, {"GET", "/doctor/echo?n=" + strings.Repeat("a", 65), "", 400},
		{"GET", "/doctor/echo?size=65537", "", 400}, {"GET", "/doctor/echo?wait=2001", "", 400}, {"GET", "/doctor/echo?wait=1", "", 200}, {"POST", "/doctor/echo", strings.Repeat("x", 64<<10+1), 413},
		{"TRACE", "/doctor/echo", "", 405},
	} {
		if w := s.do(tt.method, tt.target, tt.body); w.Code != tt.want {
			t.Errorf("%s %.40s: %d, want %d: %s", tt.method, tt.target, w.Code, tt.want, w.Body)
		}
	}
}

// TestPagesHaveWhatIsLeft: pages never hide an address of the protocol, and
// what they do not have is the protocol's own error.
func TestPagesHaveWhatIsLeft(t *testing.T) {
	s := newService(t, Options{Pages: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/nothing" || strings.HasPrefix(r.URL.Path, "/rooms/") || r.URL.Path == "/healthz" {
			return false
		}
		w.Header().Set("X-Transport", "page")
		w.WriteHeader(200)
		return true
	}})
	for _, tt := range []struct {
		method, target string
		status         int
		page           bool
	}{
		{"GET", "/", 200, true}, {"HEAD", "/", 200, true}, {"GET", "/doctor", 200, true}, {"GET", "/culvert.js", 200, true},
		{"POST", "/", 404, false}, {"DELETE", "/culvert.js", 404, false}, {"GET", "/nothing", 404, false},
		{"GET", "/rooms/a?wait=0", 200, false}, {"GET", "/publish", 405, false}, {"GET", "/healthz", 200, false},
		{"GET", "/rooms/a/nothing", 404, false}, {"GET", "/doctor/echo", 200, false},
	} {
		w := s.do(tt.method, tt.target, "")
		if w.Code != tt.status || (w.Header().Get("X-Transport") == "page") != tt.page {
			t.Errorf("%s %s: %d, page %v", tt.method, tt.target, w.Code, w.Header().Get("X-Transport") == "page")
		}
		if tt.status == 404 {
			if a := s.decode(w, 404); a.Error.Code != "not_found" {
				t.Errorf("%s %s: %s", tt.method, tt.target, w.Body)
			}
		}
		if !strings.Contains(strings.Join(w.Header()["Vary"], ","), "Origin") {
			t.Errorf("%s %s: no Vary", tt.method, tt.target)
		}
	}
	// Whoever loads a page or a script; but only what allows it itself can be read.
	if w := s.do("GET", "/", "", "Origin", "https://evil.example"); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page asks for ours: %d %v", w.Code, w.Header())
	}
	for _, target := range []string{"/rooms/a?wait=0", "/healthz", "/nothing"} {
		if w := s.do("GET", target, "", "Origin", "https://evil.example"); w.Code != 403 {
			t.Errorf("a foreign page asks for %s: %d", target, w.Code)
		}
	}
}
