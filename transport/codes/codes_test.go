package codes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// closePolicy is the table of PROTOCOL.md, section 14, as a client reads it.
func closePolicy(code int) Reconnect {
	switch {
	case code >= 4000 && code <= 4099:
		return Now
	case code >= 4100 && code <= 4199:
		return Backoff
	case code >= 4400 && code <= 4599:
		return Never
	}
	switch code {
	case 1000, 1002, 1003, 1007, 1008, 1009, 1010:
		return Never
	}
	return Backoff
}

func httpPolicy(status int) Reconnect {
	if status >= 500 || status == 408 || status == 409 || status == 429 {
		return Backoff
	}
	return Never
}

func TestEveryCodeLiesInTheRangeOfItsPolicy(t *testing.T) {
	seen := map[int]Code{}
	for _, c := range All() {
		info, ok := Lookup(c)
		if !ok || info.Code != c {
			t.Fatalf("%s: Lookup says %+v, %v", c, info, ok)
		}
		if info.HTTP != 0 && httpPolicy(info.HTTP) != info.Reconnect {
			t.Errorf("%s: HTTP %d means %s, the registry says %s", c, info.HTTP, httpPolicy(info.HTTP), info.Reconnect)
		}
		if got := closePolicy(New(c, "").CloseCode()); got != info.Reconnect {
			t.Errorf("%s: close code %d means %s, the registry says %s", c, New(c, "").CloseCode(), got, info.Reconnect)
		}
		if info.Close == 0 {
			continue
		}
		if other, dup := seen[info.Close]; dup {
			t.Errorf("%s and %s share close code %d", c, other, info.Close)
		}
		seen[info.Close] = c
		if info.Close == closeNow || info.Close == closeBackoff || info.Close == closeNever {
			t.Errorf("%s has the close code %d of errors without one", c, info.Close)
		}
	}
}

func TestUnknownCodeIsTreatedAsInternal(t *testing.T) {
	info, ok := Lookup("no_such_code")
	if ok || info.HTTP != 500 || info.Reconnect != Backoff {
		t.Fatalf("got %+v, %v", info, ok)
	}
}

func TestTheHubEndsWithRegisteredCodes(t *testing.T) {
	for _, c := range []string{hub.EndDraining, hub.EndSlow, hub.EndGap, hub.EndBehind} {
		if info, ok := Lookup(Code(c)); !ok || info.Close == 0 {
			t.Errorf("%s: %+v, %v", c, info, ok)
		}
	}
}

func TestFrom(t *testing.T) {
	tests := []struct {
		err  error
		want Code
	}{
		{hub.ErrBadRoom, BadRoom},
		{hub.ErrBadCursor, BadCursor},
		{fmt.Errorf("%w: %w", hub.ErrBadCursor, hub.ErrBadRoom), BadCursor},
		{hub.ErrTooManyRooms, TooManyRooms},
		{hub.ErrNotSubscribed, NotSubscribed},
		{hub.ErrTooLarge, MessageTooLarge},
		{hub.ErrKeyConflict, KeyConflict},
		{hub.ErrKeyInProgress, KeyInProgress},
		{hub.ErrKeysFull, KeysFull},
		{hub.ErrUnavailable, StoreUnavailable},
		{hub.ErrOutcomeUnknown, OutcomeUnknown},
		{fmt.Errorf("%w: %w", hub.ErrOutcomeUnknown, hub.ErrUnavailable), OutcomeUnknown},
		{hub.ErrBehind, Behind},
		{hub.ErrClosed, Draining},
		{hub.ErrDraining, Draining},
		{hub.ErrTooManySubscribers, TooManyConnections},
		{context.DeadlineExceeded, StoreUnavailable},
		{context.Canceled, RequestTimeout},
		{New(NotFound, "x"), NotFound},
		{errors.New("dial tcp 10.0.0.1: password secret"), Internal},
	}
	for _, tt := range tests {
		got := From(fmt.Errorf("while asking 10.0.0.1: %w", tt.err))
		if got.Code != tt.want {
			t.Errorf("From(%v) = %s, want %s", tt.err, got.Code, tt.want)
		}
		if strings.Contains(got.Message, "secret") {
			t.Errorf("From(%v) tells %q", tt.err, got.Message)
		}
	}
	room := &hub.RoomError{Room: "b", Err: fmt.Errorf("%w: what", hub.ErrBadCursor)}
	if got := From(fmt.Errorf("while reading: %w", room)); got.Code != BadCursor || got.Room != "b" {
		t.Errorf("From(%v) = %+v", room, got)
	}
	if From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
}

func TestErrorJSON(t *testing.T) {
	e := &Error{Code: BadRoom, Message: "a \"quoted\"\nline \xff", Allowed: "x", Room: "lobby", RetryAfter: 1500 * time.Millisecond}
	var got struct {
		Code         string
		Message      string
		Allowed      string
		Room         string
		RetryAfterMS int `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(e.AppendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	if got.Code != "bad_room" || got.Message != "a \"quoted\"\nline \ufffd" || got.Allowed != "x" || got.Room != "lobby" || got.RetryAfterMS != 1500 {
		t.Errorf("got %+v", got)
	}
	if got := string((&Error{Code: Internal, Message: "m"}).AppendJSON(nil)); got != `{"code":"internal","message":"m"}` {
		t.Errorf("optional fields are not left out: %s", got)
	}
}

func TestWriteHTTP(t *testing.T) {
	for _, c := range All() {
		e := New(c, "what was wrong")
		w := httptest.NewRecorder()
		e.WriteHTTP(w)
		if w.Code != e.HTTPStatus() || w.Code < 400 {
			t.Errorf("%s: status %d", c, w.Code)
		}
		if got := w.Header().Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%s: Content-Length %s of %d bytes", c, got, w.Body.Len())
		}
		if !strings.HasPrefix(w.Body.String(), `{"protocol":1,"error":{"code":"`+string(c)+`"`) || !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: not marked JSON: %s", c, w.Body)
		}
		if (w.Header().Get("Retry-After") != "") != (e.RetryAfter > 0) {
			t.Errorf("%s: Retry-After %q with a wait of %s", c, w.Header().Get("Retry-After"), e.RetryAfter)
		}
	}
	w := httptest.NewRecorder()
	(&Error{Code: Draining, RetryAfter: 1001 * time.Millisecond}).WriteHTTP(w)
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %s for 1.001 s, want 2", got)
	}
}
