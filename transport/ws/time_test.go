package ws_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/transporttest"
	"github.com/culvertd/culvert/transport/ws"
)

// TestSilent: a client that not even answers pings is ended after three
// heartbeats, however much is sent to it; one that answers stays.
func TestSilent(t *testing.T) {
	for _, tt := range []struct {
		name          string
		answers, busy bool
	}{{"silent", false, false}, {"silent and busy", false, true}, {"answering", true, false}, {"answering and busy", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, transporttest.NewPipes(), hub.Options{}, ws.Options{})
				begin := time.Now()
				c := s.dial("/rooms/lobby?heartbeat=10")
				pings := 0
				c.SetPingHandler(func(string) error {
					pings++
					if tt.answers {
						return c.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
					}
					return nil
				})
				stop := make(chan struct{})
				var busy sync.WaitGroup // waited for: at the end of the five minutes a publish is due as well
				if tt.busy {
					busy.Go(func() {
						for {
							select {
							case <-stop:
								return
							case <-time.After(2 * time.Second):
								s.publish("lobby", `1`)
							}
						}
					})
				}
				time.AfterFunc(5*time.Minute, func() { c.Close() })
				var err error
				bye := false
				for err == nil {
					var b []byte
					_, b, err = c.ReadMessage()
					bye = bye || bytes.Contains(b, []byte(`"bye","code":"silent"`))
				}
				close(stop)
				busy.Wait()
				lived := time.Since(begin)
				switch {
				case pings == 0:
					t.Error("no ping came")
				case tt.answers && lived < 5*time.Minute:
					t.Errorf("ended after %v: %v", lived, err)
				case !tt.answers && (lived < 30*time.Second || lived > 40*time.Second || !websocket.IsCloseError(err, 4003) || !bye):
					t.Errorf("ended after %v: %v", lived, err)
				}
			})
		})
	}
}

// TestHalfSent: a message that does not end is not waited for without end,
// whether its bytes stop or trickle.
func TestHalfSent(t *testing.T) {
	for _, trickle := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, transporttest.NewPipes(), hub.Options{}, ws.Options{})
			begin := time.Now()
			c := s.dial("/rooms/lobby")
			c.SetPingHandler(func(string) error { return nil })
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, err := c.nc.Write([]byte{0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0})
				for err == nil && trickle {
					time.Sleep(time.Second)
					_, err = c.nc.Write([]byte{' '})
				}
			}()
			var err error
			for err == nil {
				_, _, err = c.ReadMessage()
			}
			want := 4003
			if trickle {
				want = 4199
			}
			if lived := time.Since(begin); lived > time.Minute+time.Second || !websocket.IsCloseError(err, want) {
				t.Errorf("trickling %v: ended after %v: %v", trickle, lived, err)
			}
			c.Close()
			<-done
		})
	}
}

// TestBackPressure: a client that sends without reading is not read without
// bound, delays nobody, and is ended as slow.
func TestBackPressure(t *testing.T) {
	for _, tt := range []struct{ name, frame string }{
		{"commands", `{"type":"ping","ref":1,"size":65536}`},
		{"errors", strings.Repeat("[", 1000)},
		{"pings", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, transporttest.NewPipes(), hub.Options{WriteTimeout: 20 * time.Second}, ws.Options{})
				other := s.dial("/rooms/lobby")
				other.envelope("hello")
				c := s.dial("/rooms/lobby")
				sent := 0
				go func() {
					for {
						var err error
						if tt.frame == "" {
							err = c.WriteControl(websocket.PingMessage, make([]byte, 125), time.Now().Add(time.Hour))
						} else {
							err = c.WriteMessage(websocket.TextMessage, []byte(tt.frame))
						}
						if err != nil {
							return
						}
						sent++
					}
				}()
				synctest.Wait() // The server has taken what it takes.
				// 256 KiB of answers wait, of which none is under 100 bytes.
				if most := 300 << 10 / 100; sent > most {
					t.Errorf("%d frames were taken from a client that reads nothing", sent)
				}
				s.publish("lobby", `1`)
				other.envelope("message")
				time.Sleep(25 * time.Second)
				if n := s.hub.Stats().Subscribers["ws"]; n != 1 {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
}

// TestWholeFrames: whatever the client does wrong while much is on its way to
// it, what it gets are whole frames up to the close.
func TestWholeFrames(t *testing.T) {
	network, err := transporttest.NewLoopback(true)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, network, hub.Options{}, ws.Options{MaxFrame: 1 << 16})
	data := `"` + strings.Repeat("x", 30_000) + `"`
	for _, tt := range []struct {
		name string
		raw  []byte
		code int
	}{
		{"protocol error", []byte{0x83, 0x80, 0, 0, 0, 0}, websocket.CloseProtocolError},
		{"too large", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0}, websocket.CloseMessageTooBig},
		{"close", []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}, websocket.CloseNormalClosure},
		{"ping", []byte{0x89, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0}, websocket.CloseUnsupportedData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			c := s.dial("/rooms/big")
			c.envelope("hello")
			for range 10 {
				s.publish("big", data)
			}
			if _, err := c.nc.Write(tt.raw); err != nil {
				t.Fatal(err)
			}
			for {
				_, b, err := c.ReadMessage()
				if err == nil && (len(b) > 30_000 || bytes.HasPrefix(b, []byte(`{"type":"bye"`))) {
					continue
				}
				if !websocket.IsCloseError(err, tt.code) {
					t.Errorf("got %.100q, %v", b, err)
				}
				return
			}
		})
	}
}

// TestDrain: a node that goes down says so and when to come back.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, transporttest.NewPipes(), hub.Options{}, ws.Options{})
		c := s.dial("/rooms/lobby")
		c.envelope("hello")
		page := s.dial("/page/lobby")
		go s.hub.Drain(t.Context(), time.Minute)
		bye := c.envelope("bye")
		if bye["code"] != "draining" || bye["reconnect"] != "backoff" || bye["cursor"] == "" {
			t.Errorf("bye is %v", bye)
		}
		c.closed(4100)
		page.closed(4100)
		late := s.dial("/rooms/lobby")
		late.envelope("error")
		late.closed(4100)
	})
}

// slowToWatch is a store that takes its time to show a room.
type slowToWatch struct {
	hub.Store
	gate chan struct{}
}

func (s slowToWatch) Watch(ctx context.Context, room string, w hub.Watcher) (func(), error) {
	select {
	case <-s.gate:
		return s.Store.Watch(ctx, room, w)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestBareReadsOnceOpen: a page has no hello to wait for, so whatever is
// published once it is open reaches it, also without history.
func TestBareReadsOnceOpen(t *testing.T) {
	for _, path := range []string{"/page/lobby", "/rooms/lobby?format=bare"} {
		synctest.Test(t, func(t *testing.T) {
			store, err := memory.New(memory.Options{})
			if err != nil {
				t.Fatal(err)
			}
			slow := slowToWatch{store, make(chan struct{})}
			s := startOn(t, slow, transporttest.NewPipes(), hub.Options{}, ws.Options{})
			s.publish("lobby", `"before"`)
			open := make(chan *client)
			go func() { open <- s.dial(path) }()
			synctest.Wait()
			select {
			case <-open:
				t.Error(path, "is open, and the server does not know yet from when on it reads")
				close(slow.gate)
				return
			default:
			}
			close(slow.gate)
			c := <-open
			res := s.hub.Publish(t.Context(), []hub.Publish{
				{Room: "lobby", Data: []byte(`"passing"`), Ephemeral: true}, {Room: "lobby", Data: []byte(`"kept"`)},
			})
			if res[0].Err != nil || res[1].Err != nil {
				t.Fatal(res)
			}
			for _, want := range []string{"passing", "kept"} {
				if got := c.text(); got != want {
					t.Errorf("%s: got %q, want %q", path, got, want)
				}
			}
		})
	}
}
