package transport

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/codes"
)

func TestHistoryPagesInBothDirections(t *testing.T) {
	s := newService(t, Options{})
	s.publish("a", 7)
	var forward []string
	page := s.decode(s.do("GET", "/rooms/a/history?from=start&limit=3", ""), 200)
	for range 10 {
		forward = append(forward, s.data(page.Messages))
		if !page.More {
			break
		}
		page = s.decode(s.do("GET", "/rooms/a/history?limit=3&after="+page.Cursor, ""), 200)
	}
	if got := strings.Join(forward, "|"); got != "1 2 3|4 5 6|7" {
		t.Errorf("forward: %s", got)
	}
	// Reading goes on live where the last page ended.
	s.decode(s.do("POST", "/rooms/a", "8"), 201)
	if got := s.data(s.poll("/rooms/a?wait=0&cursor=" + page.Cursor).Messages); got != "8" {
		t.Errorf("live after the last page: %s", got)
	}
	var back []string
	page = s.decode(s.do("GET", "/rooms/a/history?limit=3", ""), 200)
	for range 10 {
		back = append(back, s.data(page.Messages))
		if !page.More {
			break
		}
		page = s.decode(s.do("GET", "/rooms/a/history?limit=3&before="+page.Before, ""), 200)
	}
	slices.Reverse(back)
	if got := strings.Join(back, "|"); got != "1 2|3 4 5|6 7 8" {
		t.Errorf("back: %s", got)
	}
	if page := s.decode(s.do("GET", "/rooms/a/history?after=0&limit=2", ""), 200); s.data(page.Messages) != "1 2" || page.Gap != nil {
		t.Errorf("after=0: %+v", page)
	}
}

func TestHistoryTellsWhatIsGone(t *testing.T) {
	s := newServiceOn(t, Options{}, memory.Options{HistoryMessages: 3})
	published := s.publish("a", 7)
	page := s.decode(s.do("GET", "/rooms/a/history?after="+published[1].Cursor, ""), 200)
	if page.Gap == nil || page.Gap.Reason != "evicted" || page.Gap.Missed != 2 || s.data(page.Messages) != "5 6 7" {
		t.Errorf("%+v", page)
	}
	page = s.decode(s.do("GET", "/rooms/a/history?from=start", ""), 200)
	if page.Gap != nil || s.data(page.Messages) != "5 6 7" {
		t.Errorf("from=start: %+v", page)
	}
	w := s.do("GET", "/rooms/never/history", "")
	page = s.decode(w, 200)
	if page.Cursor != "never=0" || page.Messages == nil || len(page.Messages) != 0 || page.More {
		t.Errorf("a room without messages: %s", w.Body)
	}
}

func TestReadRefusals(t *testing.T) {
	s := newService(t, Options{})
	tests := []struct {
		target  string
		code    codes.Code
		allowed string
	}{
		{"/rooms/a%20b", codes.BadRoom, "1-200 bytes"},
		{"/rooms/a%20b/history", codes.BadRoom, "1-200 bytes"},
		{"/rooms/a,b/history", codes.BadRoom, "1-200 bytes"},
		{"/rooms/a,b/presence", codes.BadRoom, "1-200 bytes"},
		{"/rooms/../stats", codes.BadRoom, "1-200 bytes"},
		{"/rooms/" + strings.Repeat("a,", 9999) + "a", codes.TooManyRooms, "1-100 rooms"},
		{"/rooms/a?cursor=now", codes.BadCursor, "room=position"},
		{"/rooms/a?cursor=", codes.BadCursor, "room=position"},
		{"/rooms/a?wait=99", codes.BadParameter, "0-55"},
		{"/rooms/a/poll?limit=0", codes.BadParameter, "1-1000"},
		{"/rooms/a,b/sse?format=bare", codes.BadParameter, "one room"},
		{"/rooms/a/history?limit=0", codes.BadParameter, "1-1000"},
		{"/rooms/a/history?limit=1001", codes.BadParameter, "1-1000"},
		{"/rooms/a/history?after=x", codes.BadCursor, "room=position"},
		{"/rooms/a/history?after=", codes.BadCursor, "room=position"},
		{"/rooms/a/history?after=b=x.1.y", codes.BadCursor, "room=position"},
		{"/rooms/a/history?before=%zz", codes.BadParameter, ""},
		{"/rooms/a/history?from=end", codes.BadParameter, "start"},
		{"/rooms/a/history?after=0&from=start", codes.BadParameter, "one of"},
		{"/rooms/a/presence?limit=1001", codes.BadParameter, "0-1000"},
		{"/rooms/a/presence?limit=-1", codes.BadParameter, "0-1000"},
	}
	for _, tt := range tests {
		a := s.decode(s.do("GET", tt.target, ""), 400)
		if a.Error == nil || a.Error.Code != tt.code || !strings.HasPrefix(a.Error.Allowed, tt.allowed) {
			t.Errorf("%.60s: %+v, want %s, allowed %q", tt.target, a.Error, tt.code, tt.allowed)
		}
	}
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Options{})
		defer s.close()
		for _, client := range []string{"ann", "bob"} {
			go s.do("GET", "/rooms/a?wait=30&client="+client, "")
			time.Sleep(time.Second)
		}
		go s.do("GET", "/rooms/a?wait=30", "") // without a name: not counted
		time.Sleep(time.Second)
		a := s.decode(s.do("GET", "/rooms/a/presence", ""), 200)
		if a.Room != "a" || a.Count != 2 || len(a.Members) != 2 || a.Members[0].Client != "ann" || a.Members[0].Since == 0 {
			t.Errorf("%+v", a)
		}
		a = s.decode(s.do("GET", "/rooms/a/presence?limit=0", ""), 200)
		if a.Count != 2 || a.Members == nil || len(a.Members) != 0 {
			t.Errorf("limit=0: %+v", a)
		}
		var st struct {
			Node        string
			Rooms       int
			Subscribers map[string]int
		}
		w := s.do("GET", "/stats", "")
		if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || st.Subscribers["poll"] != 3 || st.Node != s.hub.NodeID() || st.Rooms != 1 {
			t.Errorf("%v: %s", err, w.Body)
		}
		if _, ok := st.Subscribers["ws"]; !ok {
			t.Errorf("a transport without subscribers is not shown: %s", w.Body)
		}
	})
}

func TestRoomStats(t *testing.T) {
	s := newServiceOn(t, Options{}, memory.Options{HistoryMessages: 3})
	s.publish("a", 5)
	var st struct {
		Room, Head, Floor string
		Messages          int
		Subscribers       map[string]int
	}
	w := s.do("GET", "/rooms/a/stats", "")
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || st.Room != "a" || st.Messages != 3 || !strings.Contains(st.Head, ".5.") || !strings.Contains(st.Floor, ".2.") || len(st.Subscribers) != 4 {
		t.Errorf("%v: %s", err, w.Body)
	}
}

func TestReadyz(t *testing.T) {
	s := newService(t, Options{})
	s.decode(s.do("GET", "/readyz", ""), 200)
	s.store.fail(hub.ErrUnavailable)
	w := s.do("GET", "/readyz", "")
	if a := s.decode(w, 503); a.Error.Code != codes.StoreUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%s", w.Body)
	}
	s.decode(s.do("GET", "/healthz", ""), 200)
	s.store.fail(nil)
	s.decode(s.do("GET", "/readyz", ""), 200)
}

// A store that hangs holds no request longer than the request's own bound.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Options{PublishTimeout: 3 * time.Second, ReadTimeout: 2 * time.Second})
		defer s.close()
		s.store.hangs = true
		for target, want := range map[string]time.Duration{
			"/readyz": time.Second, "/rooms/a/history": 2 * time.Second, "/rooms/a/presence": 2 * time.Second, "/rooms/a/stats": 2 * time.Second,
		} {
			start := time.Now()
			a := s.decode(s.do("GET", target, ""), 503)
			if took := time.Since(start); took != want || a.Error.Code != codes.StoreUnavailable {
				t.Errorf("%s took %v: %+v", target, took, a.Error)
			}
		}
		start := time.Now()
		s.decode(s.do("POST", "/rooms/a", "1"), 503)
		a := s.decode(s.do("POST", "/publish", `{"room":"a","data":1}`), 200)
		if took := time.Since(start); took != 6*time.Second || a.Results[0].Status != 503 {
			t.Errorf("two publishes took %v: %+v", took, a.Results)
		}
	})
}
