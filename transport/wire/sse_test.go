package wire_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/wire"
)

// sseEvent is what a page hears of an event.
type sseEvent struct{ Type, Data, ID string }

// parseSSE is the parser of the HTML standard ("Interpreting an event
// stream"), written from its rules and nothing else.
func parseSSE(stream string) (events []sseEvent, lastID string) {
	stream = strings.TrimPrefix(stream, "\ufeff")
	var data, eventType, idBuffer string
	for {
		i := strings.IndexAny(stream, "\r\n")
		if i < 0 {
			return events, lastID // What follows the last line break is dropped.
		}
		line, n := stream[:i], 1
		if strings.HasPrefix(stream[i:], "\r\n") {
			n = 2
		}
		stream = stream[i+n:]
		if line == "" {
			lastID = idBuffer
			if data == "" {
				eventType = ""
				continue
			}
			events = append(events, sseEvent{Type: eventType, Data: strings.TrimSuffix(data, "\n"), ID: lastID})
			data, eventType = "", ""
			continue
		}
		field, value, found := strings.Cut(line, ":")
		if found && field == "" {
			continue
		}
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			eventType = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				idBuffer = value
			}
		}
	}
}

// unchunk removes HTTP/1.1's chunked coding, by the standard library's reader.
func unchunk(t testing.TB, chunks []byte) []byte {
	t.Helper()
	r := httputil.NewChunkedReader(io.MultiReader(bytes.NewReader(chunks), strings.NewReader("0\r\n\r\n")))
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("chunks %q: %v", chunks, err)
	}
	return b
}

// FuzzBareSSE: a string that a publisher sends arrives as the standard's
// parser must read it, in one event, and so does what follows it.
func FuzzBareSSE(f *testing.F) {
	for _, s := range []string{
		"", " ", "hello", "a\nb", "a\r\nb", "a\rb", "\n", "\r", "\r\n", "\n\n", "\r\r\n", "a\n\nevent: x\nid: y", "data: x",
		" leading", ": comment", "id: x", "\u2028", "\x00", "\ufeff", "😀\n", "\b\f\t\"\\/", "0\r\n\r\n", strings.Repeat("ab\n", 3000),
	} {
		f.Add(s)
	}
	forms := wire.Framings(wire.Options{})
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(s)
		if err != nil {
			return
		}
		var text string // What the string is once JSON has carried it.
		if err := json.Unmarshal(data, &text); err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		for _, form := range []int{wire.FormSSEBare, wire.FormSSEBarePlain} {
			stream := forms[form].Append(nil, messageEvent(string(data)))
			stream = forms[form].Append(stream, messageEvent(`{"next":1}`))
			if form == wire.FormSSEBare {
				stream = unchunk(t, stream)
			}
			events, last := parseSSE(string(stream))
			const id = "lobby=0mi8.42.q7f2ak31x0"
			if len(events) != 2 || events[0] != (sseEvent{"", want, id}) || events[1] != (sseEvent{"", `{"next":1}`, id}) || last != id {
				t.Errorf("form %d: %q arrived as %+v", form, s, events)
			}
		}
	})
}

// FuzzEnvelopeSSE: the enveloped form carries every string unchanged.
func FuzzEnvelopeSSE(f *testing.F) {
	f.Add("a\r\nb", "from\n")
	f.Add("\u2028\x00", "\xff")
	forms := wire.Framings(wire.Options{})
	f.Fuzz(func(t *testing.T, s, from string) {
		data, err := json.Marshal(s)
		if err != nil {
			return
		}
		m := message(string(data))
		m.From = from
		ev := &hub.Event{Kind: hub.EventMessage, Room: m.Room, At: m.Position(), Message: m}
		wire1 := forms[wire.FormSSE].Append(nil, ev)
		events, _ := parseSSE(string(unchunk(t, wire1)))
		if len(events) != 1 || events[0].Type != "" {
			t.Fatalf("%q arrived as %+v", s, events)
		}
		var got struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(events[0].Data), &got); err != nil || !bytes.Equal(got.Data, data) {
			t.Errorf("%q arrived as %q, %v", data, got.Data, err)
		}
		line := forms[wire.FormNDJSONPlain].Append(nil, ev)
		if bytes.Count(line, []byte("\n")) != 1 || !json.Valid(line) {
			t.Errorf("not one line of JSON: %q", line)
		}
		several := forms[wire.FormSSE].AppendWithCursor(nil, wire1, []byte("a=0,b=0"))
		events, last := parseSSE(string(unchunk(t, several)))
		if len(events) != 1 || last != "a=0,b=0" {
			t.Errorf("with a cursor it arrived as %+v, %q", events, last)
		}
	})
}

// TestSilentID: the id lines of bare hellos and heartbeats set the last id and
// show nothing.
func TestSilentID(t *testing.T) {
	f := wire.Framings(wire.Options{})[wire.FormSSEBarePlain]
	stream := wire.AppendFirst(nil, wire.FormSSEBarePlain, &wire.Hello{Cursor: hub.Cursor{{Room: "a"}}}, 4)
	if events, last := parseSSE(string(stream)); len(events) != 0 || last != "a=0" {
		t.Errorf("hello: %+v, %q", events, last)
	}
	stream = f.AppendHeartbeat(stream, 1, []byte("a=e.1.i"))
	stream = f.AppendEnd(stream, end(), nil)
	if events, last := parseSSE(string(stream)); len(events) != 0 || last != "a=e.1.i" {
		t.Errorf("heartbeat: %+v, %q", events, last)
	}
}
