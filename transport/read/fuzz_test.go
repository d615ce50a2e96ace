package read

import (
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// checkRequest is what holds of every request that Parse accepts.
func checkRequest(t *testing.T, q Request) {
	t.Helper()
	if len(q.Rooms) == 0 || len(q.Rooms) > 100 || len(q.Rooms) != len(q.Subscriptions) {
		t.Fatalf("%d rooms, %d subscriptions", len(q.Rooms), len(q.Subscriptions))
	}
	for i, room := range q.Rooms {
		if hub.ValidateRoom(room) != nil || slices.Index(q.Rooms, room) != i || q.Subscriptions[i].Room != room {
			t.Fatalf("room %d of %q: %+v", i, q.Rooms, q.Subscriptions[i])
		}
		if s := q.Subscriptions[i].Start; s.Kind == hub.StartAfter && s.At.Room != room {
			t.Fatalf("room %s starts after a place in %s", room, s.At.Room)
		}
	}
	if q.Wait < 0 || q.Wait > MaxWait || q.Limit < 1 || q.Limit > MaxLimit || q.Pad < 0 || q.Pad > MaxPad || q.Heartbeat < 0 || q.Heartbeat > MaxHeartbeat {
		t.Fatalf("out of bounds: %+v", q)
	}
	if len(q.Client) > MaxClientLen || hub.ValidateRoom(q.Client) != nil {
		t.Fatalf("client %q", q.Client)
	}
	if q.Bare && len(q.Rooms) != 1 {
		t.Fatalf("bare with %d rooms", len(q.Rooms))
	}
}

// checkRefusal: a refusal is a client's mistake, told with a registered code.
func checkRefusal(t *testing.T, e *codes.Error) {
	t.Helper()
	if info, ok := codes.Lookup(e.Code); !ok || info.HTTP < 400 || info.HTTP >= 500 || e.Message == "" {
		t.Fatalf("refused with %+v", e)
	}
}

func FuzzRooms(f *testing.F) {
	for _, s := range []string{"", "a", "a,b,a", ",", "a,,b", "..", "a/b", strings.Repeat("a,", 200), "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		rooms, e := Rooms(list, 100)
		if e != nil {
			checkRefusal(t, e)
			return
		}
		for _, name := range strings.Split(list, ",") {
			if !slices.Contains(rooms, name) {
				t.Fatalf("%q: room %q is lost", list, name)
			}
		}
	})
}

func FuzzQueryAndLastEventID(f *testing.F) {
	f.Add("", "")
	f.Add("cursor=a=x.1.y&wait=5", "")
	f.Add("cursor=b%3D0&last=3", "a=x.1.y")
	f.Add("from=start&format=bare&presence=1&client=c&heartbeat=1&pad=1&limit=1", "x")
	f.Add("cursor=%", "\x00")
	f.Add("last=%31&last=2;wait=%2B1", "0")
	f.Fuzz(func(t *testing.T, query, id string) {
		r := httptest.NewRequest("GET", "/rooms/a,b/poll", nil)
		r.URL.RawQuery = query
		r.Header["Last-Event-Id"] = []string{id}
		q, e := parse(r, "a,b")
		if e != nil {
			checkRefusal(t, e)
			return
		}
		checkRequest(t, q)
		if id != "" {
			// A place that was given is never dropped.
			c, err := hub.ParseCursor(id, q.Rooms)
			if err != nil {
				t.Fatalf("Last-Event-ID %q was accepted: %v", id, err)
			}
			for _, at := range c {
				i := slices.Index(q.Rooms, at.Room)
				if q.Subscriptions[i].Start.At != at {
					t.Fatalf("Last-Event-ID %q: room %s starts at %+v", id, at.Room, q.Subscriptions[i].Start)
				}
			}
		}
	})
}

func FuzzJSONBody(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `[]`, `{"cursor":"a=x.1.y","wait":5}`, `{"wait":1e1}`, `{"wait":"5","wait":6}`, `{"cursor":{"a":1}}`, `{"presence":true,"client":"\u0000"}`, ` {"x": [1] } `, "{\"cursor\": \xff}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		q, e := parse(post("application/json", body), "a,b")
		if e != nil {
			checkRefusal(t, e)
			return
		}
		checkRequest(t, q)
	})
}

// Whatever Plain takes, Parse takes too, and understands alike.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "n=1", "cursor=e.1.i&wait=20&limit=1000&n=17", "cursor=a%3De.1.i.m", "cursor=a=e.1.i,b=0", "wait=x", "token=1", "wait", "&&", "=",
		"n=%zz", "%6e=1", "client=c&presence=1", "format=bare", "last=3&from=start", "wait=1&wait=2", "pad=1&probe=1&heartbeat=9", "cursor=%", "cursor=", "wait=+5", "client=%00"} {
		f.Add("a", s)
		f.Add("a,b", s)
	}
	f.Add("", "")
	f.Add("a,,b", "")
	f.Fuzz(func(t *testing.T, rooms, query string) {
		plain, ok := Plain(rooms, query, Limits{})
		if !ok {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		q, e := Parse(r, rooms, Limits{})
		if e != nil {
			t.Fatalf("%q %q: taken as %+v, refused with %+v", rooms, query, plain, e)
		}
		checkRequest(t, q)
		if !q.ClientGiven {
			q.Client = ""
		}
		if !reflect.DeepEqual(q, plain) {
			t.Fatalf("%q %q: %+v\nwant %+v", rooms, query, plain, q)
		}
	})
}

// TestPlainTakes: what clients send, and what it must leave to Parse.
func TestPlainTakes(t *testing.T) {
	for query, want := range map[string]bool{
		"": true, "cursor=lobby%3Dk3x9.42.q7f2.ab&wait=55&limit=1000&n=18": true, "client=ann&presence=1": true, "format=bare": true,
		"token=x": false, "wait=20&ticket=1": false, "wait=56": false, "cursor=-": false, "%6e=1": false,
	} {
		if _, ok := Plain("lobby", query, Limits{}); ok != want {
			t.Errorf("%q: %v", query, ok)
		}
	}
}
