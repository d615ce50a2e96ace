package read

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

func parse(r *http.Request, rooms string) (Request, *codes.Error) { return Parse(r, rooms, Limits{}) }

func get(query string) *http.Request {
	return httptest.NewRequest("GET", "/rooms/x?"+query, nil)
}

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest("POST", "/rooms/x/poll", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func after(room, epoch string, offset uint64, id string) hub.Start {
	return hub.Start{Kind: hub.StartAfter, At: hub.RoomPosition{Room: room, Position: hub.Position{Epoch: epoch, Offset: offset, ID: id}}}
}

func TestDefaults(t *testing.T) {
	q, e := parse(get(""), "lobby")
	if e != nil {
		t.Fatal(e)
	}
	if q.Client == "" || q.ClientGiven {
		t.Errorf("client %q, given %v; want one made up", q.Client, q.ClientGiven)
	}
	q.Client = ""
	want := Request{
		Rooms: []string{"lobby"}, Subscriptions: []hub.Subscription{{Room: "lobby"}},
		Wait: 20 * time.Second, Limit: 500,
	}
	if !reflect.DeepEqual(q, want) {
		t.Errorf("got %+v, want %+v", q, want)
	}
}

// Every way to pass parameters means the same.
func TestSourcesAgree(t *testing.T) {
	form := "cursor=a%3Dx.1.y,b%3D0&wait=5&limit=7&presence=1&client=me&heartbeat=9&pad=11&probe=1&nonce=%zz"
	sources := map[string]*http.Request{
		"query":      get(form),
		"form":       post("application/x-www-form-urlencoded; charset=UTF-8", form),
		"text":       post("text/plain;charset=UTF-8", form+"\r\n"),
		"untyped":    post("", form),
		"json":       post("application/json", `{"cursor":"a=x.1.y,b=0","wait":5,"limit":"7","presence":true,"client":"me","heartbeat":9,"pad":11,"probe":true,"last":null,"n":[{}]}`),
		"body beats": post("text/plain", form),
	}
	sources["body beats"].URL.RawQuery = "cursor=b%3D0&wait=9&limit=1&presence=0&client=you&heartbeat=1&pad=0&probe=0"
	want := Request{
		Rooms: []string{"a", "b"},
		Subscriptions: []hub.Subscription{
			{Room: "a", Start: after("a", "x", 1, "y"), Presence: true},
			{Room: "b", Start: hub.Start{Kind: hub.StartAfter, At: hub.RoomPosition{Room: "b"}}, Presence: true},
		},
		Wait: 5 * time.Second, Limit: 7, Presence: true, Client: "me", ClientGiven: true, Heartbeat: 9 * time.Second, Pad: 11, Probe: true,
	}
	for name, r := range sources {
		q, e := parse(r, "a,b,a")
		if e != nil {
			t.Errorf("%s: %v", name, e)
		} else if !reflect.DeepEqual(q, want) {
			t.Errorf("%s: got %+v, want %+v", name, q, want)
		}
	}
}

func TestStart(t *testing.T) {
	now, oldest, last := hub.Start{Kind: hub.StartNow}, hub.Start{Kind: hub.StartOldest}, hub.Start{Kind: hub.StartLast, N: 3}
	tests := []struct {
		id, query string
		a, b      hub.Start
	}{
		{"", "", now, now},
		{"", "from=start", oldest, oldest},
		{"", "from=start&last=3", last, last},
		{"", "cursor=a=x.1.y", after("a", "x", 1, "y"), now},
		{"", "cursor=a=x.1.y&last=3", after("a", "x", 1, "y"), last},
		{"", "cursor=gone=x.1.y&from=start", oldest, oldest},
		{"b=z.9.w", "cursor=a=x.1.y,b=x.2.y&last=3", after("a", "x", 1, "y"), after("b", "z", 9, "w")},
		{"b=z.9.w", "from=start", oldest, after("b", "z", 9, "w")},
		{"b=z.9.w,a=z.8.v", "", after("a", "z", 8, "v"), after("b", "z", 9, "w")},
	}
	for _, tt := range tests {
		r := get(tt.query)
		r.Header.Set("Last-Event-ID", tt.id)
		q, e := parse(r, "a,b")
		if e != nil {
			t.Errorf("%s, %s: %v", tt.id, tt.query, e)
			continue
		}
		if q.Subscriptions[0].Start != tt.a || q.Subscriptions[1].Start != tt.b {
			t.Errorf("%s, %s: got %+v", tt.id, tt.query, q.Subscriptions)
		}
	}
}

// A long cursor in another order than the rooms loses no place.
func TestStartsOfManyRooms(t *testing.T) {
	var names, places []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("r%d", i))
		places = append(places, fmt.Sprintf("r%d=e.%d.i", 99-i, 100-i))
	}
	r := get("cursor=" + strings.Join(places, ","))
	q, e := parse(r, strings.Join(names, ","))
	if e != nil {
		t.Fatal(e)
	}
	for i, s := range q.Subscriptions {
		if s.Room != names[i] || s.Start != after(names[i], "e", uint64(i+1), "i") {
			t.Fatalf("room %d: %+v", i, s)
		}
	}
}

func TestRefusals(t *testing.T) {
	gzipped := post("", "wait=1")
	gzipped.Header.Set("Content-Encoding", "gzip")
	badID := get("cursor=0")
	badID.Header.Set("Last-Event-ID", "17")
	announced := post("", "")
	announced.ContentLength = 1 << 40
	many := "r" + strings.Repeat(",r", 400)
	for i := range 101 {
		many += fmt.Sprintf(",r%d", i)
	}
	var hundredOne []string
	for i := range 101 {
		hundredOne = append(hundredOne, fmt.Sprintf("r%d", i))
	}
	tests := []struct {
		name    string
		r       *http.Request
		rooms   string
		code    codes.Code
		allowed string
	}{
		{"empty room", get(""), "", codes.BadRoom, "1-200 bytes"},
		{"bad room", get(""), "a b", codes.BadRoom, "1-200 bytes"},
		{"dot dot", get(""), "..", codes.BadRoom, "1-200 bytes"},
		{"long room", get(""), strings.Repeat("x", 201), codes.BadRoom, "1-200 bytes"},
		{"empty among rooms", get(""), "a,,b", codes.BadRoom, "1-200 bytes"},
		{"101 rooms", get(""), strings.Join(hundredOne, ","), codes.TooManyRooms, "1-100 rooms"},
		{"repeats without end", get(""), many, codes.TooManyRooms, "1-100 rooms"},
		{"10,000 rooms", get(""), strings.Repeat("a,", 9999) + "a", codes.TooManyRooms, "1-100 rooms"},

		{"empty cursor", get("cursor="), "a", codes.BadCursor, "room=position"},
		{"word for a cursor", get("cursor=latest"), "a", codes.BadCursor, "room=position"},
		{"one position, two rooms", get("cursor=x.1.y"), "a,b", codes.BadCursor, "room=position"},
		{"bad room in cursor", get("cursor=a+b%3D0"), "a", codes.BadCursor, "room=position"},
		{"long cursor", get("cursor=a%3D" + strings.Repeat("0", 32<<10)), "a", codes.BadCursor, "room=position"},
		{"bad Last-Event-ID, good cursor", badID, "a", codes.BadCursor, "room=position"},

		{"wait", get("wait=56"), "a", codes.BadParameter, "0-55"},
		{"wait", get("wait=-1"), "a", codes.BadParameter, "0-55"},
		{"wait", get("wait=-0"), "a", codes.BadParameter, "0-55"},
		{"wait", get("wait=%2B5"), "a", codes.BadParameter, "0-55"},
		{"wait", get("wait="), "a", codes.BadParameter, "0-55"},
		{"wait", get("wait=1.5"), "a", codes.BadParameter, "0-55"},
		{"limit", get("limit=0"), "a", codes.BadParameter, "1-1000"},
		{"last", get("last=1001"), "a", codes.BadParameter, "0-1000"},
		{"last", get("last=99999999999999999999"), "a", codes.BadParameter, "0-1000"},
		{"heartbeat", get("heartbeat=61"), "a", codes.BadParameter, "1-60"},
		{"pad", get("pad=16385"), "a", codes.BadParameter, "0-16384"},
		{"probe", get("probe=2"), "a", codes.BadParameter, "1, 0"},
		{"from", get("from=now"), "a", codes.BadParameter, "start"},
		{"format", get("format=xml"), "a", codes.BadParameter, "envelope, bare"},
		{"bare with two rooms", get("format=bare"), "a,b", codes.BadParameter, "one room"},
		{"presence", get("presence=yes"), "a", codes.BadParameter, "1, 0"},
		{"client", get("client="), "a", codes.BadParameter, "1-64 bytes"},
		{"client", get("client=" + strings.Repeat("c", 65)), "a", codes.BadParameter, "1-64 bytes"},
		{"escape", get("cursor=%zz"), "a", codes.BadParameter, ""},

		{"json array", post("application/json", "[]"), "a", codes.BadJSON, "an object"},
		{"json null", post("application/json", "null"), "a", codes.BadJSON, "an object"},
		{"json twice", post("application/json", "{}{}"), "a", codes.BadJSON, "an object"},
		{"json object as value", post("application/json", `{"cursor":{}}`), "a", codes.BadParameter, ""},
		{"not UTF-8", post("", "client=\xff"), "a", codes.BadUTF8, ""},
		{"xml", post("text/xml", "<a/>"), "a", codes.UnsupportedType, "application/x-www-form"},
		{"gzip", gzipped, "a", codes.UnsupportedEncoding, "no Content-Encoding"},
		{"large", post("", strings.Repeat("x", 64<<10+1)), "a", codes.BodyTooLarge, ""},
		{"announced large", announced, "a", codes.BodyTooLarge, ""},
	}
	for _, tt := range tests {
		_, e := parse(tt.r, tt.rooms)
		if e == nil || e.Code != tt.code || !strings.HasPrefix(e.Allowed, tt.allowed) {
			t.Errorf("%s: got %+v, want %s, allowed %q", tt.name, e, tt.code, tt.allowed)
		}
	}
}

// A refusal of one room among several says which it is; every other names none.
func TestTheRoomThatIsRefused(t *testing.T) {
	hundredOne := "r0"
	for i := range 100 {
		hundredOne += fmt.Sprintf(",r%d,r%d", i, i+1)
	}
	badID := get("cursor=a=0")
	badID.Header.Set("Last-Event-ID", "a=0,b=X.1.y")
	tests := []struct {
		r           *http.Request
		rooms, room string
	}{
		{get(""), hundredOne, "r100"},
		{get("cursor=a=0,b=X.1.y,c=0"), "a,b,c", "b"},
		{get("cursor=a=0,b=0,a=0"), "a,b", "a"},
		{badID, "a,b", "b"},
		{post("", "cursor=a%3D0%2Cb%3D17"), "a,b", "b"},
		{get("cursor=17"), "a", ""},
		{get("cursor=a=0,b"), "a,b", ""},
		{get("cursor="), "a,b", ""},
		{get("last=1001"), "a,b", ""},
	}
	for _, tt := range tests {
		if _, e := parse(tt.r, tt.rooms); e == nil || e.Room != tt.room {
			t.Errorf("%s %.40s: got %+v, want room %q", tt.r.URL.RawQuery, tt.rooms, e, tt.room)
		}
	}
}

type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }
func (b brokenBody) Close() error             { return nil }

// A client's name does not keep alive what it was cut out of.
func TestClientIsACopy(t *testing.T) {
	query := "client=ann&n=" + strings.Repeat("1", 1000)
	r := httptest.NewRequest("GET", "/", nil)
	r.URL.RawQuery = query
	parsed, e := Parse(r, "a", Limits{})
	plain, ok := Plain("a", query, Limits{})
	if e != nil || !ok || parsed.Client != "ann" || plain.Client != "ann" {
		t.Fatalf("%+v %v, %+v %v", parsed, e, plain, ok)
	}
	for _, client := range []string{parsed.Client, plain.Client} {
		if unsafe.StringData(client) == unsafe.StringData(query[len("client="):]) {
			t.Error("the name is a part of the query")
		}
	}
}

func TestBody(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 1000, 1024} {
		for _, announced := range []bool{true, false} {
			r := post("", strings.Repeat("x", n))
			if !announced {
				r.ContentLength = -1
			}
			if b, e := Body(r, nil, 1024, codes.BodyTooLarge); e != nil || len(b) != n {
				t.Errorf("%d bytes: got %d, %v", n, len(b), e)
			}
		}
	}
	for _, n := range []int{1025, 5000} {
		r := post("", strings.Repeat("x", n))
		r.ContentLength = -1
		if _, e := Body(r, make([]byte, 0, 8192), 1024, codes.MessageTooLarge); e == nil || e.Code != codes.MessageTooLarge {
			t.Errorf("%d bytes: got %v", n, e)
		}
	}
	for err, want := range map[error]codes.Code{
		io.ErrUnexpectedEOF:                      codes.BadBody,
		os.ErrDeadlineExceeded:                   codes.RequestTimeout,
		&http.MaxBytesError{Limit: 1}:            codes.BodyTooLarge,
		errors.New("http: invalid chunk length"): codes.BadBody,
	} {
		r := post("", "")
		r.Body, r.ContentLength = brokenBody{err}, -1
		if _, e := Body(r, nil, 1024, codes.BodyTooLarge); e == nil || e.Code != want {
			t.Errorf("%v: got %v, want %s", err, e, want)
		}
	}
}
