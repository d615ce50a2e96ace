package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/publish"
)

func TestPublish(t *testing.T) {
	s := newService(t, Options{})
	w := s.do("POST", "/rooms/lobby", `{"text": "hello"}`, "Content-Type", "application/json")
	first := s.decode(w, 201)
	if first.Room != "lobby" || first.Offset != 1 || first.Epoch == "" || first.ID == "" || first.Time == 0 || first.Duplicate {
		t.Errorf("%s", w.Body)
	}
	if want := fmt.Sprintf("lobby=%s.1.%s", first.Epoch, first.ID); first.Cursor != want {
		t.Errorf("cursor %s, want %s", first.Cursor, want)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %s", got)
	}
	s.decode(s.do("POST", "/rooms/lobby/", "plain \"text\""), 201)
	s.decode(s.do("POST", "/rooms/lobby", " [1, 2]", "Content-Type", "text/plain"), 201)
	page := s.decode(s.do("GET", "/rooms/lobby/history", ""), 200)
	if got, want := s.data(page.Messages), `{"text":"hello"} "plain \"text\"" [1,2]`; got != want {
		t.Errorf("published %s, want %s", got, want)
	}
}

func TestPublishOnce(t *testing.T) {
	s := newService(t, Options{})
	first := s.decode(s.do("POST", "/rooms/a", `{"x":1}`, "Idempotency-Key", "k"), 201)
	tests := []struct {
		name, target, body string
		headers            []string
		status             int
		code               codes.Code
	}{
		{"the same", "/rooms/a", `{"x":1}`, []string{"Idempotency-Key", "k"}, 200, ""},
		{"other white space", "/rooms/a", ` { "x" : 1 } `, []string{"Idempotency-Key", "k"}, 200, ""},
		{"as strict JSON", "/rooms/a", `{"x":1}`, []string{"Idempotency-Key", "k", "Content-Type", "application/json"}, 200, ""},
		{"key in the query", "/rooms/a?key=k", `{"x":1}`, nil, 200, ""},
		{"header beats query", "/rooms/a?key=other", `{"x":1}`, []string{"Idempotency-Key", "k"}, 200, ""},
		{"in a batch", "/publish", `{"room":"a","data":{"x":1},"key":"k"}`, nil, 200, ""},
		{"other content", "/rooms/a", `{"x":2}`, []string{"Idempotency-Key", "k"}, 422, codes.KeyConflict},
		{"ephemeral", "/rooms/a?ephemeral=1", `{"x":1}`, []string{"Idempotency-Key", "k"}, 422, codes.KeyConflict},
	}
	for _, tt := range tests {
		a := s.decode(s.do("POST", tt.target, tt.body, tt.headers...), tt.status)
		switch {
		case tt.code != "":
			if a.Error == nil || a.Error.Code != tt.code {
				t.Errorf("%s: %+v, want %s", tt.name, a.Error, tt.code)
			}
		case a.Results != nil:
			if a.Results[0].Status != 200 || a.Results[0].Offset != first.Offset {
				t.Errorf("%s: %+v", tt.name, a.Results)
			}
		case !a.Duplicate || a.Offset != first.Offset || a.ID != first.ID || a.Time != first.Time || a.Cursor != first.Cursor:
			t.Errorf("%s: %+v, want a duplicate of %+v", tt.name, a, first)
		}
	}
	// A key belongs to its room.
	if a := s.decode(s.do("POST", "/rooms/b", `{"x":1}`, "Idempotency-Key", "k"), 201); a.Duplicate {
		t.Errorf("%+v", a)
	}
	if page := s.decode(s.do("GET", "/rooms/a/history", ""), 200); len(page.Messages) != 1 {
		t.Errorf("%d messages, want 1", len(page.Messages))
	}
}

func TestPublishEphemeral(t *testing.T) {
	s := newService(t, Options{})
	w := s.do("POST", "/rooms/a?ephemeral=1", "x")
	a := s.decode(w, 201)
	if a.ID == "" || a.Time == 0 || strings.Contains(w.Body.String(), "offset") || strings.Contains(w.Body.String(), "cursor") {
		t.Errorf("%s", w.Body)
	}
	if page := s.decode(s.do("GET", "/rooms/a/history", ""), 200); len(page.Messages) != 0 {
		t.Errorf("an ephemeral message is in the history")
	}
	first := s.decode(s.do("POST", "/rooms/a?ephemeral=1&key=k", "x"), 201)
	again := s.decode(s.do("POST", "/rooms/a?ephemeral=1&key=k", "x"), 200)
	if first.ID == "" || again.ID != "" || !again.Duplicate || again.Time != first.Time {
		t.Errorf("%+v, then %+v: a duplicate must not name a message that nobody got", first, again)
	}
}

func TestPublishMany(t *testing.T) {
	s := newService(t, Options{})
	array := `[{"room":"a","data":1,"key":"k"},{"room":"b","data":"x"},{"room":"a","data":1,"key":"k"},{"room":"a","data":2,"key":"k"},{"room":"..","data":1}]`
	a := s.decode(s.do("POST", "/publish", array, "Content-Type", "application/json"), 200)
	var got []string
	for _, r := range a.Results {
		text := fmt.Sprintf("%d %s %d", r.Status, r.Room, r.Offset)
		if r.Error != nil {
			text += " " + string(r.Error.Code)
		}
		got = append(got, text)
	}
	if want := "201 a 1, 201 b 1, 200 a 1, 422 a 0 key_conflict, 400  0 bad_room"; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	lines := "{\"room\":\"a\",\"data\":3}\n\n{\"room\":\"c\",\"data\":4}\n"
	a = s.decode(s.do("POST", "/publish/", lines, "Content-Type", "application/x-ndjson; charset=utf-8"), 200)
	if len(a.Results) != 2 || a.Results[0].Offset != 2 || a.Results[1].Room != "c" {
		t.Errorf("%+v", a.Results)
	}
	if a = s.decode(s.do("POST", "/publish", "[]"), 200); a.Results == nil || len(a.Results) != 0 {
		t.Errorf("an empty batch has results %v", a.Results)
	}
}

func TestPublishRefusals(t *testing.T) {
	s := newService(t, Options{Publishing: publish.Limits{Message: 100, Batch: 3, Body: 300}})
	long := strings.Repeat("x", 101)
	tests := []struct {
		name, target, body string
		headers            []string
		status             int
		code               codes.Code
		allowed            string
	}{
		{"bad room", "/rooms/a%20b", "1", nil, 400, codes.BadRoom, "1-200 bytes"},
		{"two rooms", "/rooms/a,b", "1", nil, 400, codes.BadRoom, "1-200 bytes"},
		{"dots", "/rooms/..", "1", nil, 400, codes.BadRoom, "1-200 bytes"},
		{"long room", "/rooms/" + strings.Repeat("r", 201), "1", nil, 400, codes.BadRoom, "1-200 bytes"},
		{"empty", "/rooms/a", "", nil, 400, codes.EmptyBody, "JSON or text"},
		{"not JSON", "/rooms/a", "hello", []string{"Content-Type", "application/json; charset=utf-8"}, 400, codes.BadJSON, ""},
		{"cut JSON", "/rooms/a", `{"a":`, []string{"Content-Type", "APPLICATION/JSON"}, 400, codes.BadJSON, ""},
		{"not UTF-8", "/rooms/a", "\xff", nil, 400, codes.BadUTF8, ""},
		{"not UTF-8 in JSON", "/rooms/a", "\"\xff\"", []string{"Content-Type", "application/json"}, 400, codes.BadUTF8, ""},
		{"large", "/rooms/a", long, nil, 413, codes.MessageTooLarge, ""},
		{"gzip", "/rooms/a", "x", []string{"Content-Encoding", "gzip"}, 415, codes.UnsupportedEncoding, "no Content-Encoding"},
		{"key with a tab", "/rooms/a", "1", []string{"Idempotency-Key", "a\tb"}, 400, codes.BadKey, "1-200 bytes"},
		{"empty key", "/rooms/a?key=", "1", nil, 400, codes.BadKey, "1-200 bytes"},
		{"empty key header", "/rooms/a?key=k", "1", []string{"Idempotency-Key", ""}, 400, codes.BadKey, "1-200 bytes"},
		{"long key", "/rooms/a?key=" + strings.Repeat("k", 201), "1", nil, 400, codes.BadKey, "1-200 bytes"},
		{"broken escape", "/rooms/a?key=%25&ephemeral=%zz", "1", nil, 400, codes.BadParameter, ""},
		{"ephemeral", "/rooms/a?ephemeral=yes", "1", nil, 400, codes.BadParameter, "1, 0"},

		{"batch: empty", "/publish", "", nil, 400, codes.EmptyBody, `{"room"`},
		{"batch: text", "/publish", "hello", nil, 400, codes.BadJSON, `{"room"`},
		{"batch: number", "/publish", "[1]", nil, 400, codes.BadJSON, `{"room"`},
		{"batch: broken line", "/publish", "{}\n{", []string{"Content-Type", "application/x-ndjson"}, 400, codes.BadJSON, `{"room"`},
		{"batch: not UTF-8", "/publish", "[\"\xff\"]", nil, 400, codes.BadUTF8, ""},
		{"batch: too many", "/publish", "[{},{},{},{}]", nil, 413, codes.BatchTooLarge, "1-3 messages"},
		{"batch: large", "/publish", strings.Repeat(" ", 301), nil, 413, codes.BodyTooLarge, ""},
		{"batch: gzip", "/publish", "x", []string{"Content-Encoding", "br"}, 415, codes.UnsupportedEncoding, "no Content-Encoding"},
	}
	for _, tt := range tests {
		a := s.decode(s.do("POST", tt.target, tt.body, tt.headers...), tt.status)
		if a.Error == nil || a.Error.Code != tt.code || a.Error.Message == "" || !strings.HasPrefix(a.Error.Allowed, tt.allowed) {
			t.Errorf("%s: %+v, want %s, allowed %q", tt.name, a.Error, tt.code, tt.allowed)
		}
	}
	a := s.decode(s.do("POST", "/publish", `[{"room":"a","data":"`+long+`"},{"room":"a","data":1}]`), 200)
	if a.Results[0].Status != 413 || a.Results[0].Error.Code != codes.MessageTooLarge || a.Results[1].Status != 201 {
		t.Errorf("one large message among others: %+v", a.Results)
	}
	if st := s.hub.Stats(); st.Published != 1 {
		t.Errorf("%d messages were published, want 1", st.Published)
	}
}

// A body that breaks off or comes too late publishes nothing.
func TestPublishBrokenBody(t *testing.T) {
	s := newService(t, Options{})
	for err, want := range map[error]codes.Code{io.ErrUnexpectedEOF: codes.BadBody, os.ErrDeadlineExceeded: codes.RequestTimeout} {
		for _, target := range []string{"/rooms/a", "/publish"} {
			r := httptest.NewRequest("POST", target, io.MultiReader(strings.NewReader(`{"room":"a"`), iotest.ErrReader(err)))
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			e := codes.New(want, "")
			if a := s.decode(w, e.HTTPStatus()); a.Error.Code != want {
				t.Errorf("%s, %v: %+v", target, err, a.Error)
			}
		}
	}
	if st := s.hub.Stats(); st.Published != 0 {
		t.Errorf("%d messages were published", st.Published)
	}
}

// What the store cannot do is told with the code that says what to do next, and
// nothing of what the store said.
func TestStoreFaults(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   codes.Code
		retry  bool
		logged bool
	}{
		{hub.ErrUnavailable, 503, codes.StoreUnavailable, true, true},
		{hub.ErrOutcomeUnknown, 504, codes.OutcomeUnknown, true, true},
		{hub.ErrKeyInProgress, 409, codes.KeyInProgress, true, false},
		{hub.ErrKeysFull, 503, codes.KeysFull, true, true},
		{hub.ErrTooLarge, 413, codes.MessageTooLarge, false, false},
		{hub.ErrClosed, 503, codes.Draining, true, false},
		{context.DeadlineExceeded, 503, codes.StoreUnavailable, true, true},
		{errors.New("unheard of"), 500, codes.Internal, true, true},
	}
	for _, tt := range tests {
		s := newService(t, Options{})
		s.store.fail(fmt.Errorf("redis://user:secret@10.0.0.1: %w", tt.err))
		w := s.do("POST", "/rooms/a", "1", "Idempotency-Key", "k")
		a := s.decode(w, tt.status)
		if a.Error.Code != tt.code || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: %s", tt.err, w.Body)
		}
		if (w.Header().Get("Retry-After") != "") != tt.retry || (a.Error.RetryAfterMS > 0) != tt.retry {
			t.Errorf("%v: Retry-After %q, %d ms", tt.err, w.Header().Get("Retry-After"), a.Error.RetryAfterMS)
		}
		if got := strings.Contains(s.log.String(), string(tt.code)); got != tt.logged {
			t.Errorf("%v: logged %v, want %v: %s", tt.err, got, tt.logged, s.log)
		}
		b := s.decode(s.do("POST", "/publish", `[{"room":"a","data":1}]`), 200)
		if b.Results[0].Status != tt.status || b.Results[0].Error.Code != tt.code {
			t.Errorf("%v in a batch: %+v", tt.err, b.Results)
		}
	}
}

// A store that is down fails every request; the log says so once a second.
func TestFaultsDoNotFloodTheLog(t *testing.T) {
	s := newService(t, Options{})
	s.store.fail(hub.ErrUnavailable)
	for range 100 {
		s.do("POST", "/rooms/a", "1")
	}
	if n := strings.Count(s.log.String(), "\n"); n < 1 || n > 20 {
		t.Errorf("%d lines for 100 faults", n)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	s := newService(t, Options{})
	s.store.panics = true
	w := s.do("POST", "/rooms/a", "1", "Origin", "http://example.com")
	a := s.decode(w, 500)
	if a.Error.Code != codes.Internal || strings.Contains(w.Body.String(), "fault of the program") {
		t.Errorf("%s", w.Body)
	}
	if !strings.Contains(s.log.String(), "a fault of the program") || !strings.Contains(s.log.String(), "publish.go") {
		t.Errorf("the log has no panic with its place: %s", s.log)
	}
	if w.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Error("no CORS headers")
	}
}
