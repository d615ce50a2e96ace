package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
)

// keeper is a sink that wants every room but "other".
type keeper struct {
	msgs   []hub.Message
	events []hub.PresenceEvent
}

func (k *keeper) wants(room string) (string, bool) {
	name, ok := unescape(room)
	return name, ok && room != "other"
}
func (k *keeper) message(m *hub.Message)        { k.msgs = append(k.msgs, *m) }
func (k *keeper) presence(ev hub.PresenceEvent) { k.events = append(k.events, ev) }

// encodeFrame does what the publish script does.
func encodeFrame(m hub.Message) string {
	epoch := m.Epoch
	if m.Offset == 0 {
		epoch = "-"
	}
	return fmt.Sprintf("m %s %s %d %d %d %d %d\n%s%s%s\n", escape(m.Room), epoch, m.Offset, m.Time,
		len(m.ID), len(m.From), len(m.Data), m.ID, m.From, m.Data)
}

var frameMessages = []hub.Message{
	{Room: "a", Epoch: "e1", Offset: 1, ID: "id1", Time: 5, From: "u", Data: []byte(`{"a":1}`)},
	{Room: "a", ID: "id2", Time: 6, Data: []byte(`"m x e 1 2 3 4 5\np"`)},
	{Room: "other", Epoch: "e1", Offset: 9, ID: "id3", Time: 7, From: "\n\x00 ", Data: []byte("1\n2")},
	{Room: "b", Epoch: "e2", Offset: hub.MaxOffset, ID: "id4", Time: 8, From: "\n\x00 ", Data: []byte("1\n2")},
}

func TestDecodeFrames(t *testing.T) {
	payload := ""
	for _, m := range frameMessages {
		payload += encodeFrame(m)
	}
	payload += "p a + 11 3 12 c%20d u%2F1\n" + "p b - 11 0 12 c \n" + "p other - 11 0 12 c \n"
	var k keeper
	if err := decodeFrames(payload, &k); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 3} {
		if got, want := fmt.Sprintf("%+v", k.msgs[i]), fmt.Sprintf("%+v", frameMessages[want]); got != want {
			t.Errorf("message %d:\n got %s\nwant %s", i, got, want)
		}
	}
	want := []hub.PresenceEvent{
		{Room: "a", Join: true, Count: 3, Time: 12, Member: hub.Member{Client: "c d", From: "u/1", Since: 11}},
		{Room: "b", Time: 12, Member: hub.Member{Client: "c", Since: 11}},
	}
	if len(k.msgs) != 3 || fmt.Sprint(k.events) != fmt.Sprint(want) {
		t.Errorf("%d messages, events %+v", len(k.msgs), k.events)
	}
	for cut := range len(payload) {
		if err := decodeFrames(payload[:cut], &keeper{}); err != nil && !errors.Is(err, errFrame) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func FuzzDecodeFrames(f *testing.F) {
	for _, m := range frameMessages {
		f.Add(encodeFrame(m))
	}
	f.Add(encodeFrame(frameMessages[0]) + "p a + 11 3 12 c%20d u%2F1\n")
	for _, bad := range []string{"m", "x\n", "m a - 1 2 0 0 0\n\n", "m a e 0 2 0 0 0\n\n", "m a e 1 2 1073741823 1073741823 1073741823\n\n", "m a e 1 2 -1 0 0\n\n", "p a + 1 2 3 % u\n"} {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		var k keeper
		err := decodeFrames(payload, &k)
		if err != nil && !errors.Is(err, errFrame) {
			t.Fatal(err)
		}
		// What was read can be written, and read the same.
		for _, m := range k.msgs {
			if m.Offset > hub.MaxOffset || (m.Offset == 0) != (m.Epoch == "") {
				t.Fatalf("%+v", m)
			}
			var again keeper
			if err := decodeFrames(encodeFrame(m), &again); err != nil || fmt.Sprint(again.msgs) != fmt.Sprint([]hub.Message{m}) {
				t.Fatalf("%+v became %+v, %v", m, again.msgs, err)
			}
		}
	})
}

func FuzzParseResult(f *testing.F) {
	for _, s := range []string{"+ e 1 2", "+ e 1", "+ e 1 2\n+\n+", "= e 1 2 id", "= e 1", "!", "- OOM x", "+ - 0 5", "+ - 0\n+", "+ e x 2", "", "+", "= a 99999999999999999999 1 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		var told hub.Result
		for line := range strings.SplitSeq(lines, "\n") {
			before := told.Position
			r, err := parseResult(line, 7, "me", &told)
			if err != nil {
				break
			}
			if r.Err == nil && r.Position.Offset == 0 && r.Position != (hub.Position{}) {
				t.Fatalf("%q: %+v", line, r)
			}
			if want := (hub.Position{Epoch: before.Epoch, Offset: before.Offset + 1, ID: "me"}); line == "+" && r.Position != want {
				t.Fatalf("after %+v: %+v", before, r)
			}
		}
	})
}
