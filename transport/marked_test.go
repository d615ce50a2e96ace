package transport

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/wire"
)

func TestTheMarkIsTheProtocolsVersion(t *testing.T) {
	if want := fmt.Sprintf(`"protocol":%d,`, wire.Protocol); codes.Mark != want {
		t.Errorf("%s, want %s", codes.Mark, want)
	}
}

// TestErrorsAreMarked: whatever the server refuses, at whatever address, can be
// told from what a gateway says.
func TestErrorsAreMarked(t *testing.T) {
	s := newService(t, Options{})
	check := func(what, method, target, body string, headers ...string) {
		t.Helper()
		w := s.do(method, target, body, headers...)
		if text := w.Body.String(); w.Code < 400 || !strings.HasPrefix(text, `{"protocol":1,"error":{"code":"`) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s, %s %s: %d %s", what, method, target, w.Code, text)
		}
	}
	for _, r := range s.engine.Routes() {
		target := strings.ReplaceAll(r.Path, ":rooms", "a")
		check("a foreign page", r.Method, target, "", "Origin", "https://evil.example")
		check("a method that there is not", "BREW", target, "")
		if strings.Contains(r.Path, ":rooms") {
			check("a bad room", r.Method, strings.ReplaceAll(r.Path, ":rooms", "a%20b"), "1")
		}
	}
	check("no such address", "GET", "/nothing", "")
	check("no upgrade", "GET", "/rooms/a/ws", "")
	check("a bad parameter", "GET", "/rooms/a?wait=x", "")
	check("a bad cursor", "POST", "/rooms/a/sse", "cursor=x")
	check("a bad page", "GET", "/rooms/a/history?limit=x", "")
	check("an empty body", "POST", "/rooms/a", "")
	check("bad JSON", "POST", "/publish", "{")
	check("a large echo", "POST", "/doctor/echo", strings.Repeat("x", 70_000))
	s.store.fail(hub.ErrUnavailable)
	for _, target := range []string{"/rooms/a/history", "/rooms/a/presence", "/readyz"} {
		check("no store", "GET", target, "")
	}
	check("no store", "POST", "/rooms/a", "1")
	s.store.fail(nil)
	s.store.panics = true
	check("a panic", "GET", "/rooms/a/history", "")
	s.hub.Close()
	check("an end", "GET", "/rooms/a?wait=0", "")
}

// TestAnswersAreMarked: a client that gets a success can tell it from what a
// gateway makes up.
func TestAnswersAreMarked(t *testing.T) {
	s := newService(t, Options{})
	for _, tt := range [][2]string{
		{"POST", "/publish"}, {"GET", "/rooms/a?wait=0"}, {"POST", "/rooms/a/poll?wait=0"}, {"GET", "/rooms/a/history"}, {"GET", "/rooms/a/presence"},
	} {
		if a := s.decode(s.do(tt[0], tt[1], `[{"room":"a","data":1}]`), 200); a.Protocol != wire.Protocol {
			t.Errorf("%s %s: %+v", tt[0], tt[1], a)
		}
	}
}
