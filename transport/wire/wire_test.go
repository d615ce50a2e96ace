package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/wire"
)

func message(data string) *hub.Message {
	return &hub.Message{
		Room: "lobby", Epoch: "0mi8", Offset: 42, ID: "q7f2ak31x0", Time: 1700000000000, From: "ann",
		Data: []byte(data),
	}
}

func messageEvent(data string) *hub.Event {
	m := message(data)
	return &hub.Event{Kind: hub.EventMessage, Room: m.Room, Time: m.Time, At: m.Position(), Message: m}
}

// here is where the room stood when something without an offset came.
var here = hub.Position{Epoch: "0mi8", Offset: 42, ID: "a"}

func gapEvent() *hub.Event {
	return &hub.Event{Kind: hub.EventGap, Room: "lobby", Time: 5, At: hub.Position{Epoch: "0mi8", Offset: 900, ID: "b"}, Gap: &hub.Gap{
		Room: "lobby", Reason: hub.GapEvicted,
		From: hub.Position{Epoch: "0mi8", Offset: 42, ID: "a"}, To: hub.Position{Epoch: "0mi8", Offset: 900, ID: "b"},
	}}
}

func presenceEvent() *hub.Event {
	return &hub.Event{Kind: hub.EventPresence, Room: "lobby", Time: 6, At: here, Presence: &hub.PresenceEvent{
		Room: "lobby", Join: true, Member: hub.Member{Client: "c8a1", From: "ann", Since: 4}, Count: 3, Time: 6,
	}}
}

func ephemeralEvent() *hub.Event {
	m := &hub.Message{Room: "lobby", ID: "x", Time: 7, Data: []byte(`1`)}
	return &hub.Event{Kind: hub.EventMessage, Room: "lobby", Time: 7, At: here, Message: m}
}

const (
	messageJSON   = `{"type":"message","room":"lobby","offset":42,"epoch":"0mi8","id":"q7f2ak31x0","time":1700000000000,"from":"ann","data":{"a":1}}`
	gapJSON       = `{"type":"gap","room":"lobby","reason":"evicted","from":"lobby=0mi8.42.a","to":"lobby=0mi8.900.b","missed":858,"time":5}`
	presenceJSON  = `{"type":"presence","room":"lobby","event":"join","client":"c8a1","from":"ann","since":4,"count":3,"time":6}`
	ephemeralJSON = `{"type":"message","room":"lobby","ephemeral":true,"id":"x","time":7,"data":1}`
	heartbeatJSON = `{"type":"heartbeat","cursor":"lobby=0mi8.42.a","time":9}`
	byeJSON       = `{"type":"bye","code":"draining","message":"restart","reconnect":"backoff","after_ms":1830,"cursor":"lobby=0mi8.42.a"}`
	cursor        = "lobby=0mi8.42.a"
)

func end() hub.End {
	return hub.End{Code: "draining", Message: "restart", After: 1830 * time.Millisecond}
}

// text is a WebSocket text frame, chunk a chunk of HTTP/1.1, as their
// specifications write them down.
func text(s string) string {
	if len(s) < 126 {
		return "\x81" + string(rune(len(s))) + s
	}
	return "\x81\x7e" + string([]byte{byte(len(s) >> 8), byte(len(s))}) + s
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

const last = "0\r\n\r\n"

// TestForms pins the bytes of every form: they are the protocol.
func TestForms(t *testing.T) {
	forms := wire.Framings(wire.Options{PageHeartbeat: "--heartbeat--", DeflateFrom: 512})
	all := []*hub.Event{messageEvent(`{"a":1}`), ephemeralEvent(), gapEvent(), presenceEvent()}
	const closed = "\x88\x13\x10\x04draining: restart"
	tests := []struct {
		name      string
		form      int
		events    []string
		heartbeat string
		end       string
	}{
		{"ws", wire.FormWS,
			[]string{
				text(messageJSON), text(ephemeralJSON),
				text(gapJSON), text(presenceJSON),
			},
			text(heartbeatJSON) + "\x89\x00", text(byeJSON) + closed},
		{"ws-bare", wire.FormWSBare,
			[]string{"\x81\x07{\"a\":1}", "\x81\x011", "", ""}, "\x89\x00", closed},
		{"ws-page", wire.FormWSPage,
			[]string{"\x81\x07{\"a\":1}", "\x81\x011", "", ""}, "\x81\x0d--heartbeat--\x89\x00", closed},
		{"sse", wire.FormSSE,
			[]string{
				chunk("id: lobby=0mi8.42.q7f2ak31x0\ndata: " + messageJSON + "\n\n"),
				chunk("id: lobby=0mi8.42.a\ndata: " + ephemeralJSON + "\n\n"),
				chunk("event: gap\nid: lobby=0mi8.900.b\ndata: " + gapJSON + "\n\n"),
				chunk("event: presence\nid: lobby=0mi8.42.a\ndata: " + presenceJSON + "\n\n"),
			},
			chunk(": heartbeat\nevent: heartbeat\nid: lobby=0mi8.42.a\ndata: " + heartbeatJSON + "\n\n"),
			chunk("retry: 1830\nevent: bye\nid: lobby=0mi8.42.a\ndata: "+byeJSON+"\n\n") + last},
		{"sse-plain", wire.FormSSEPlain,
			[]string{
				"id: lobby=0mi8.42.q7f2ak31x0\ndata: " + messageJSON + "\n\n", "id: lobby=0mi8.42.a\ndata: " + ephemeralJSON + "\n\n",
				"event: gap\nid: lobby=0mi8.900.b\ndata: " + gapJSON + "\n\n", "event: presence\nid: lobby=0mi8.42.a\ndata: " + presenceJSON + "\n\n",
			},
			": heartbeat\nevent: heartbeat\nid: lobby=0mi8.42.a\ndata: " + heartbeatJSON + "\n\n",
			"retry: 1830\nevent: bye\nid: lobby=0mi8.42.a\ndata: " + byeJSON + "\n\n"},
		{"sse-bare", wire.FormSSEBare,
			[]string{
				chunk("id: lobby=0mi8.42.q7f2ak31x0\ndata: {\"a\":1}\n\n"), chunk("id: lobby=0mi8.42.a\ndata: 1\n\n"),
				chunk("event: gap\nid: lobby=0mi8.900.b\ndata: " + gapJSON + "\n\n"), "",
			},
			chunk(": heartbeat\nid: lobby=0mi8.42.a\n\n"), chunk("retry: 1830\n: bye\n\n") + last},
		{"sse-bare-plain", wire.FormSSEBarePlain,
			[]string{
				"id: lobby=0mi8.42.q7f2ak31x0\ndata: {\"a\":1}\n\n", "id: lobby=0mi8.42.a\ndata: 1\n\n",
				"event: gap\nid: lobby=0mi8.900.b\ndata: " + gapJSON + "\n\n", "",
			},
			": heartbeat\nid: lobby=0mi8.42.a\n\n", "retry: 1830\n: bye\n\n"},
		{"ndjson", wire.FormNDJSON,
			[]string{
				chunk(messageJSON + "\n"), chunk(ephemeralJSON + "\n"),
				chunk(gapJSON + "\n"), chunk(presenceJSON + "\n"),
			},
			chunk(heartbeatJSON + "\n"), chunk(byeJSON+"\n") + last},
		{"ndjson-plain", wire.FormNDJSONPlain,
			[]string{messageJSON + "\n", ephemeralJSON + "\n", gapJSON + "\n", presenceJSON + "\n"},
			heartbeatJSON + "\n", byeJSON + "\n"},
		{"ndjson-bare", wire.FormNDJSONBare,
			[]string{chunk("{\"a\":1}\n"), chunk("1\n"), chunk(gapJSON + "\n"), ""},
			chunk("\n"), "0\r\n\r\n"},
		{"ndjson-bare-plain", wire.FormNDJSONBarePlain,
			[]string{"{\"a\":1}\n", "1\n", gapJSON + "\n", ""}, "\n", ""},
		{"poll", wire.FormPoll, []string{messageJSON, ephemeralJSON, gapJSON, presenceJSON}, "", ""},
		{"poll-bare", wire.FormPollBare, []string{`{"a":1}`, `1`, "", ""}, "", ""},
	}
	// Nothing here is long enough to be compressed: those forms are the plain ones.
	for i := range 3 {
		plain := tests[i]
		plain.name += "-deflate"
		plain.form = wire.Deflated(plain.form)
		tests = append(tests, plain)
	}
	if len(tests) != len(forms) {
		t.Errorf("%d forms, %d are tested", len(forms), len(tests))
	}
	const before = "what was there before"
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := forms[tt.form]
			check := func(what string, got []byte, want string) {
				t.Helper()
				if string(got) != before+want {
					t.Errorf("%s:\n got %q\nwant %q", what, got[len(before):], want)
				}
			}
			for i, ev := range all {
				check("event", f.Append([]byte(before), ev), tt.events[i])
			}
			check("heartbeat", f.AppendHeartbeat([]byte(before), 9, []byte(cursor)), tt.heartbeat)
			check("end", f.AppendEnd([]byte(before), end(), []byte(cursor)), tt.end)
			check("end by the client", f.AppendEnd([]byte(before), hub.End{}, []byte(cursor)), "")
		})
	}
}

func TestWithCursor(t *testing.T) {
	const several = "a=0mi8.1.x,lobby=0mi8.42.q7f2ak31x0,z=0"
	for _, form := range []int{wire.FormSSE, wire.FormSSEPlain} {
		f := wire.Framings(wire.Options{})[form]
		if !f.CursorInFrame() {
			t.Errorf("form %d names no cursor", form)
		}
		for _, tt := range []struct {
			ev   *hub.Event
			want string
		}{
			{messageEvent(`{"a":1}`), "id: " + several + "\ndata: " + messageJSON + "\n\n"},
			{messageEvent(`"id: x"`), "id: " + several + "\ndata: " + strings.Replace(messageJSON, `{"a":1}`, `"id: x"`, 1) + "\n\n"},
			{gapEvent(), "event: gap\nid: " + several + "\ndata: " + gapJSON + "\n\n"},
			{presenceEvent(), "event: presence\nid: " + several + "\ndata: " + presenceJSON + "\n\n"},
			{ephemeralEvent(), "id: " + several + "\ndata: " + ephemeralJSON + "\n\n"},
		} {
			got := f.AppendWithCursor([]byte("x"), f.Append(nil, tt.ev), []byte(several))[1:]
			if form == wire.FormSSE {
				got = unchunk(t, got)
			}
			if string(got) != tt.want {
				t.Errorf("form %d:\n got %q\nwant %q", form, got, tt.want)
			}
		}
	}
	for i, f := range wire.Framings(wire.Options{}) {
		if i >= wire.FormSSE && i <= wire.FormSSEBarePlain {
			continue
		}
		w := f.Append(nil, messageEvent("1"))
		if f.CursorInFrame() || string(f.AppendWithCursor(nil, w, []byte("a=0"))) != string(w) {
			t.Errorf("form %d names a cursor", i)
		}
	}
}

func TestFirst(t *testing.T) {
	h := &wire.Hello{
		Server: "culvert 0.1.0", Node: "n1", Client: "c1", Rooms: []string{"a", "b"}, Heartbeat: 15 * time.Second, Time: 3,
		Cursor: hub.Cursor{{Room: "a"}, {Room: "b", Position: hub.Position{Epoch: "e", Offset: 1, ID: "i"}}},
	}
	const hello = `{"type":"hello","protocol":1,"server":"culvert 0.1.0","node":"n1","client":"c1","rooms":["a","b"],"cursor":"a=0,b=e.1.i","heartbeat":15,"time":3}`
	for _, tt := range []struct {
		form, pad int
		want      string
	}{
		{wire.FormWS, 9, text(hello)},
		{wire.FormWSBare, 9, ""},
		{wire.FormWSPage, 0, ""},
		{wire.FormSSE, 0, chunk(": culvert\nretry: 2000\nevent: hello\nid: a=0,b=e.1.i\ndata: " + hello + "\n\n")},
		{wire.FormSSEPlain, 3, ": culvert   \nretry: 2000\nevent: hello\nid: a=0,b=e.1.i\ndata: " + hello + "\n\n"},
		{wire.FormSSEBare, 0, chunk(": culvert\nretry: 2000\nid: a=0,b=e.1.i\n\n")},
		{wire.FormSSEBarePlain, 0, ": culvert\nretry: 2000\nid: a=0,b=e.1.i\n\n"},
		{wire.FormNDJSON, 2, chunk("  " + hello + "\n")},
		{wire.FormNDJSONPlain, 0, hello + "\n"},
		{wire.FormNDJSONBare, 2, chunk("  \n")},
		{wire.FormNDJSONBarePlain, 0, "\n"},
		{wire.FormPoll, 0, ""},
	} {
		if got := wire.AppendFirst([]byte("x"), tt.form, h, tt.pad); string(got) != "x"+tt.want {
			t.Errorf("form %d:\n got %q\nwant %q", tt.form, got[1:], tt.want)
		}
	}
}

func TestReplies(t *testing.T) {
	e := codes.New(codes.KeyConflict, "no")
	p := hub.Position{Epoch: "e", Offset: 4, ID: "i"}
	for _, tt := range []struct{ got, want string }{
		{string(wire.AppendError(nil, e)), `{"type":"error","error":{"code":"key_conflict","message":"no"}}`},
		{string(wire.AppendErrorReply(nil, []byte(`"r"`), e)), `{"type":"reply","ref":"r","ok":false,"error":{"code":"key_conflict","message":"no"}}`},
		{string(wire.AppendReply(nil, []byte(`7`))) + "}", `{"type":"reply","ref":7,"ok":true}`},
		{string(wire.AppendPublished(nil, "r", "x", &hub.Result{Position: p, Time: 5, Duplicate: true})), `"room":"r","offset":4,"epoch":"e","id":"i","time":5,"cursor":"r=e.4.i","duplicate":true`},
		{string(wire.AppendPublished(nil, "r", "x", &hub.Result{Time: 5})), `"room":"r","id":"x","time":5,"duplicate":false`},
		{string(wire.AppendPublished(nil, "r", "x", &hub.Result{Time: 5, Duplicate: true})), `"room":"r","time":5,"duplicate":true`},
	} {
		if tt.got != tt.want {
			t.Errorf("\n got %s\nwant %s", tt.got, tt.want)
		}
	}
}

// FuzzString: what AppendString writes reads back as encoding/json's does.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\b\f\x00\x1f\x7f", "\u2028\u2029", "\xff\xc3", "é日本😀", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, quoted := range [][]byte{wire.AppendString([]byte("x"), s), wire.AppendString([]byte("x"), []byte(s))} {
			var got string
			if err := json.Unmarshal(quoted[1:], &got); err != nil {
				t.Fatalf("%q: %v", quoted, err)
			}
			if utf8.ValidString(s) && got != s {
				t.Errorf("%q became %q", s, got)
			}
			if !utf8.Valid(quoted) {
				t.Errorf("%q is not UTF-8", quoted)
			}
		}
	})
}
