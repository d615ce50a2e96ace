package middlebox

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestHonestWebSocket(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		c := w.mustWebsocket()
		for _, text := range []string{"a", strings.Repeat("b", 200), strings.Repeat("c", 70000)} {
			if got, err := ask(c, text, time.Second); got != text {
				t.Errorf("%d bytes came back as %d, %v", len(text), len(got), err)
			}
		}
		if s := w.box.Stats(); s.Upgrades != 1 || s.Tunnels != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestUpgrade(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		status int // of the answer
		timed  bool
		hits   int // at the server
	}{
		// gorilla's upgrader answers a request without the headers with 400.
		{"strip", Options{Upgrade: UpgradeStrip}, 400, false, 1},
		{"refuse", Options{Upgrade: UpgradeRefuse}, 403, false, 0},
		{"refuse with 400", Options{Upgrade: UpgradeRefuse, UpgradeStatus: 400}, 400, false, 0},
		{"refuse with 426", Options{Upgrade: UpgradeRefuse, UpgradeStatus: 426}, 426, false, 0},
		{"refuse with 502", Options{Upgrade: UpgradeRefuse, UpgradeStatus: 502}, 502, false, 0},
		{"swallow", Options{Upgrade: UpgradeSwallow}, 0, true, 0},
		{"only elsewhere", Options{Upgrade: UpgradeRefuse, Only: func(r *http.Request) bool { return r.URL.Path == "/x" }}, 101, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.o, func(w *world) {
				start := time.Now()
				conn, resp, err := w.websocket(10 * time.Second)
				status := 0
				if resp != nil {
					status = resp.StatusCode
				}
				if err == nil {
					conn.Close()
				}
				if waited := time.Since(start) > 0; status != c.status || waited != c.timed {
					t.Errorf("status %d, waited %v: %v", status, waited, err)
				}
				if n := w.backend.seen("GET /ws"); n != c.hits {
					t.Errorf("the server saw %d requests", n)
				}
				if got := w.status("GET", "/echo", ""); got != 200 {
					t.Errorf("a plain request got %d", got)
				}
			})
		})
	}
}

func TestUpgradeReset(t *testing.T) {
	onSockets(t, Options{Upgrade: UpgradeReset}, func(w *world) {
		if _, _, err := w.websocket(10 * time.Second); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFramesDropped(t *testing.T) {
	inBubble(t, Options{Frames: FramesDrop, FramesAfter: 3 * time.Second}, func(w *world) {
		c := w.mustWebsocket()
		if got, err := ask(c, "early", time.Second); got != "early" {
			t.Error(got, err)
		}
		time.Sleep(4 * time.Second)
		if got, err := ask(c, "late", time.Minute); !timedOut(err) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestFramesHeldAndReleased(t *testing.T) {
	inBubble(t, Options{Frames: FramesHold}, func(w *world) {
		c := w.mustWebsocket()
		done := make(chan string)
		go func() {
			got, err := ask(c, "patience", time.Minute)
			if err != nil {
				got = err.Error()
			}
			done <- got
		}()
		time.Sleep(20 * time.Second)
		select {
		case got := <-done:
			t.Fatalf("got %q while frames are held", got)
		default:
		}
		if err := w.box.Set(Options{}); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != "patience" {
			t.Errorf("got %q", got)
		}
		if got, err := ask(c, "again", time.Second); got != "again" {
			t.Error(got, err)
		}
	})
}

func TestFramesCorrupted(t *testing.T) {
	inBubble(t, Options{Frames: FramesCorrupt, Only: func(r *http.Request) bool { return true }}, func(w *world) {
		c := w.mustWebsocket()
		// Spoilt on the way there, and made good on the way back: the server gets
		// what is not UTF-8. Binary frames show it.
		c.WriteMessage(websocket.BinaryMessage, []byte("a"))
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, p, err := c.ReadMessage(); string(p) != "a" {
			t.Errorf("twice spoilt is %q, %v", p, err)
		}
	})
	// One way: the filter alone.
	b := &Box{changed: make(chan struct{})}
	b.install(Options{Frames: FramesCorrupt})
	x := &exchange{box: b, options: &Options{}, request: &http.Request{}}
	var out collector
	f := newFilter(x, &out)
	frame := append([]byte{0x81, 3}, "abc"...)
	for i := range frame { // byte by byte, as a slow network might
		f.Write(frame[i : i+1])
	}
	f.Write([]byte{0x89, 1, 'p'}) // a ping stays as it is
	f.Close()
	if got, want := string(out), "\x81\x03\xe1bc\x89\x01p"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type collector []byte

func (c *collector) Write(p []byte) (int, error) { *c = append(*c, p...); return len(p), nil }
func (*collector) Close() error                  { return nil }

func TestWebSocketAge(t *testing.T) {
	inBubble(t, Options{WebSocketAge: 5 * time.Second}, func(w *world) {
		start := time.Now()
		c := w.mustWebsocket()
		var err error
		for err == nil {
			_, err = ask(c, "alive", time.Minute)
			time.Sleep(time.Second)
		}
		if age := time.Since(start); age < 5*time.Second || age > 7*time.Second {
			t.Errorf("ended after %v: %v", age, err)
		}
		if got := w.status("GET", "/echo", ""); got != 200 {
			t.Errorf("a plain request got %d", got)
		}
	})
}

func TestMaxFrame(t *testing.T) {
	onSockets(t, Options{MaxFrame: 1000}, func(w *world) {
		c := w.mustWebsocket()
		if got, err := ask(c, strings.Repeat("x", 1000), time.Minute); len(got) != 1000 {
			t.Error(len(got), err)
		}
		if _, err := ask(c, strings.Repeat("x", 1001), time.Minute); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %v", err)
		}
	})
}
