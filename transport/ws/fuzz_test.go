package ws

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/wire"
)

// sink is a hub connection that keeps what is written.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (s *sink) TryWrite(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}
func (s *sink) Write(p []byte) (int, error)      { return s.TryWrite(p) }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Close() error                     { return nil }

func (s *sink) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := bytes.Clone(s.buf.Bytes())
	s.buf.Reset()
	return b
}

// envelopes are the texts in what the server wrote: unmasked whole frames.
func envelopes(t *testing.T, b []byte) (texts [][]byte) {
	for len(b) > 0 {
		n, at := int(b[1]), 2
		switch {
		case b[0] != 0x81:
			t.Fatalf("not a text frame: %q", b)
		case n == 126:
			n, at = int(b[2])<<8|int(b[3]), 4
		case n == 127:
			n, at = int(b[6])<<24|int(b[7])<<16|int(b[8])<<8|int(b[9]), 10
		}
		texts = append(texts, b[at:at+n])
		b = b[at+n:]
	}
	return texts
}

// FuzzCommand: whatever a client sends, it is answered once if it has a good
// ref, with that ref, and what is answered is JSON.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		`{"type":"publish","ref":1,"room":"a","data":{"x":[1,"\u00e9"]},"key":"k","ephemeral":true}`,
		`{"type":"publish","ref":"r","messages":[{"room":"a","data":1},{"data":null},{}]}`,
		`{"type":"subscribe","ref":1,"rooms":["a","b"],"cursor":"a=0","last":3,"from":"start","presence":1}`,
		`{"type":"subscribe","ref":1,"room":"a","cursor":"0mi8.1.x"}`,
		`{"type":"unsubscribe","ref":1,"rooms":["lobby"]}`,
		`{"type":"presence","ref":-1,"room":"a","limit":0}`,
		`{"type":"history","ref":1,"room":"a","after":"0","before":"0","limit":5}`,
		`{"type":"ping","ref":"\u0000","data":1e5,"size":3}`,
		`{"type":"ping","ref":9007199254740993}`, `{"type":"ping","ref":null}`, `{"ref":1,"ref":2,"type":"ping"}`,
		`{"typ\u0065":"ping"}`, `[]`, `null`, `{`, "\xff", `{"type":"ping","size":-0}`, `{"type":"publish","data":`,
	} {
		f.Add([]byte(s))
	}
	store, err := memory.New(memory.Options{})
	if err != nil {
		f.Fatal(err)
	}
	h, err := hub.New(store, hub.Options{Framings: wire.Framings(wire.Options{})})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		h.Close()
		store.Close()
	})
	handler := New(Options{Hub: h, Publish: publish.Limits{Message: 1000, Batch: 5}})
	f.Fuzz(func(t *testing.T, text []byte) {
		out := &sink{}
		sub, err := h.NewSubscriber(hub.SubscriberOptions{Conn: out, Form: wire.FormWS, Transport: "ws"})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.End(hub.End{})
		c := &connection{h: handler, sub: sub, form: wire.FormWS}
		if _, err := sub.Subscribe(context.Background(), []hub.Subscription{{Room: "lobby"}}); err != nil {
			t.Fatal(err)
		}
		sub.Start()
		out.take()
		lives := c.command(text)
		if !utf8.Valid(text) {
			if lives {
				t.Errorf("%q was taken", text)
			}
			return
		}
		var want struct{ Ref json.RawMessage }
		cmd, _ := parse(text)
		replies := 0
		for _, text := range envelopes(t, out.take()) {
			var env struct {
				Type  string
				Ref   json.RawMessage
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal(text, &env); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			switch env.Type {
			case "reply":
				replies++
				if !bytes.Equal(env.Ref, cmd.ref) {
					t.Errorf("ref %s was answered with %s", cmd.ref, env.Ref)
				}
			case "error":
				if cmd.ref != nil || env.Error.Code == "" || env.Error.Message == "" {
					t.Errorf("answered %s", text)
				}
			}
		}
		if cmd.ref != nil {
			if replies != 1 {
				t.Errorf("%q: %d replies", text, replies)
			}
			if json.Unmarshal(text, &want) == nil && !sameJSON(want.Ref, cmd.ref) && bytes.Count(text, []byte("ef\"")) == 1 {
				t.Errorf("%q: ref %s", text, cmd.ref)
			}
		}
	})
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x == y
}
