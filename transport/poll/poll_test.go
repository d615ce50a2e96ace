package poll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// fakeHub answers with what it is given, and remembers what it was asked.
type fakeHub struct {
	res hub.PollResult
	err error
	got hub.PollRequest
}

func (f *fakeHub) Poll(_ context.Context, r hub.PollRequest) (hub.PollResult, error) {
	f.got = r
	return f.res, f.err
}

func serve(t testing.TB, h *fakeHub, q read.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	New(h, Options{}).Serve(w, httptest.NewRequest("GET", "/rooms/a/poll", nil), q)
	if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
		t.Fatalf("headers %v: %s", w.Header(), w.Body)
	}
	return w
}

func place(offset uint64) hub.Position { return hub.Position{Epoch: "e", Offset: offset, ID: "i"} }

func TestAnswer(t *testing.T) {
	cursor := hub.Cursor{{Room: "a", Position: place(3), Mark: "m"}, {Room: "b"}}
	gap := &hub.Gap{Room: "a", Reason: hub.GapEvicted, From: place(1), To: place(3)}
	tests := []struct {
		name string
		bare bool
		res  hub.PollResult
		want string // without the time
	}{
		{"empty", false, hub.PollResult{Cursor: cursor}, `{"protocol":1,"messages":[],"cursor":"a=e.3.i.m,b=0"`},
		{"two", false, hub.PollResult{Frames: [][]byte{[]byte(`{"x":1}`), []byte(`2`)}, Cursor: cursor}, `{"protocol":1,"messages":[{"x":1},2],"cursor":"a=e.3.i.m,b=0"`},
		{"gap is a frame", false, hub.PollResult{Frames: [][]byte{[]byte(`{}`)}, Gaps: []*hub.Gap{gap}, Cursor: cursor}, `{"protocol":1,"messages":[{}],"cursor":"a=e.3.i.m,b=0"`},
		{"bare gap", true, hub.PollResult{Frames: [][]byte{[]byte(`1`)}, Gaps: []*hub.Gap{gap}, Cursor: cursor},
			`{"protocol":1,"messages":[1],"gaps":[{"type":"gap","room":"a","reason":"evicted","from":"a=e.1.i","to":"a=e.3.i","missed":2,"time":`},
		{"bye", false, hub.PollResult{Cursor: cursor, Draining: true, After: 1830 * time.Millisecond},
			`{"protocol":1,"messages":[],"cursor":"a=e.3.i.m,b=0","bye":{"type":"bye","code":"draining","message":"this node is shutting down","reconnect":"backoff","after_ms":1830,"cursor":"a=e.3.i.m,b=0"}`},
	}
	for _, tt := range tests {
		w := serve(t, &fakeHub{res: tt.res}, read.Request{Bare: tt.bare})
		if got := w.Body.String(); w.Code != 200 || !strings.HasPrefix(got, tt.want) || !strings.Contains(got, `,"time":`) {
			t.Errorf("%s: %d %s\nwant %s", tt.name, w.Code, got, tt.want)
		}
		if got := w.Header().Get("Cache-Control"); !strings.Contains(got, "no-store") {
			t.Errorf("%s: Cache-Control: %s", tt.name, got)
		}
	}
}

func TestWhatTheHubIsAsked(t *testing.T) {
	h := &fakeHub{}
	q := read.Request{
		Rooms: []string{"a"}, Subscriptions: []hub.Subscription{{Room: "a"}},
		Wait: 7 * time.Second, Limit: 9, Client: "made-up",
	}
	serve(t, h, q)
	if h.got.Client != "" || h.got.Form != wire.FormPoll || h.got.Wait != q.Wait || h.got.Limit != 9 || h.got.Bytes != 256<<10 || len(h.got.Subscriptions) != 1 {
		t.Errorf("asked %+v", h.got)
	}
	q.Client, q.ClientGiven, q.Bare = "ann", true, true
	serve(t, h, q)
	if h.got.Client != "ann" || h.got.Form != wire.FormPollBare {
		t.Errorf("asked %+v", h.got)
	}
}

func TestErrors(t *testing.T) {
	for err, status := range map[error]int{
		hub.ErrBehind: 503, hub.ErrDraining: 503, hub.ErrTooManySubscribers: 503, hub.ErrUnavailable: 503,
		hub.ErrTooManyRooms: 400, errors.New("secret"): 500,
	} {
		w := serve(t, &fakeHub{err: fmt.Errorf("poll: %w", err)}, read.Request{})
		if w.Code != status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

// Nobody is told anything whose client has left.
func TestClientHasLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("the handler ended with %v", p)
		}
	}()
	New(&fakeHub{err: ctx.Err()}, Options{}).Serve(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil), read.Request{})
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkAnswer is what an answer costs once the hub has its messages.
func BenchmarkAnswer(b *testing.B) {
	frame := wire.AppendMessage(nil, &hub.Message{Room: "lobby", Epoch: hub.NewEpoch(1), Offset: 1000, ID: "q7f2ak31x0", Time: 1700000000000, Data: []byte(`{"text":"` + strings.Repeat("x", 100) + `"}`)})
	for _, n := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			h := &fakeHub{res: hub.PollResult{Cursor: hub.Cursor{{Room: "lobby", Position: place(1000)}}}}
			for range n {
				h.res.Frames = append(h.res.Frames, frame)
			}
			p := New(h, Options{})
			r := httptest.NewRequest("GET", "/rooms/lobby/poll", nil)
			w := &discard{header: make(http.Header)}
			q := read.Request{Rooms: []string{"lobby"}}
			b.ReportAllocs()
			for b.Loop() {
				p.Serve(w, r, q)
			}
		})
	}
}
