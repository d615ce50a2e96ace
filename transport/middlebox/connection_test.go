package middlebox

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestForgetAfter(t *testing.T) {
	inBubble(t, Options{ForgetAfter: 5 * time.Second}, func(w *world) {
		c := w.mustWebsocket()
		if got, err := ask(c, "early", time.Second); got != "early" {
			t.Error(got, err)
		}
		time.Sleep(6 * time.Second)
		// Over pipes a write is not buffered by anything, so it may hang as well.
		c.SetWriteDeadline(time.Now().Add(30 * time.Second))
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		werr := c.WriteMessage(1, []byte("late"))
		_, _, rerr := c.ReadMessage()
		if !timedOut(rerr) {
			t.Errorf("write %v, read %v", werr, rerr)
		}
		if got := w.status("GET", "/echo", ""); got != 200 {
			t.Errorf("a new connection got %d", got)
		}
	})
}

func TestFreezeHidesTheEnd(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		conn, err := w.dial(w.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("GET /forever HTTP/1.1\r\nHost: box\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		w.box.Freeze()
		conn.Close()
		time.Sleep(time.Minute)
		if n := w.backend.leavers(); n != 0 {
			t.Error("the server heard of the client's end")
		}
		w.box.Cut()
		synctest.Wait()
		if n := w.backend.leavers(); n != 1 {
			t.Error("the server did not hear of the cut")
		}
	})
}

func TestClientThatLeavesIsNoticed(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		conn, err := w.dial(w.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("GET /forever HTTP/1.1\r\nHost: box\r\n\r\n"))
		conn.Read(make([]byte, 1000))
		conn.Close()
		synctest.Wait()
		if n := w.backend.leavers(); n != 1 {
			t.Error("the server did not hear of the client's end")
		}
	})
}

func TestIdleTimeout(t *testing.T) {
	for _, forget := range []bool{false, true} {
		inBubble(t, Options{IdleTimeout: 5 * time.Second, IdleForget: forget}, func(w *world) {
			c := w.mustWebsocket()
			for range 5 {
				time.Sleep(4 * time.Second)
				if got, err := ask(c, "busy", time.Second); got != "busy" {
					t.Fatal(got, err)
				}
			}
			start := time.Now()
			c.SetReadDeadline(start.Add(time.Minute))
			_, _, err := c.ReadMessage()
			if timeout := timedOut(err); timeout != forget || !forget && time.Since(start) != 5*time.Second {
				t.Errorf("forget %v: %v after %v", forget, err, time.Since(start))
			}
		})
	}
}

func TestKillAtBytes(t *testing.T) {
	onSockets(t, Options{KillAtBytes: 5000}, func(w *world) {
		if got := w.status("GET", "/echo", ""); got != 200 {
			t.Errorf("a small answer got %d", got)
		}
		_, text, err := w.call("GET", "/big?n=20000", "")
		if !errors.Is(err, syscall.ECONNRESET) || len(text) > 5000 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	})
}

func TestCutResets(t *testing.T) {
	onSockets(t, Options{}, func(w *world) {
		c := w.mustWebsocket()
		if _, err := ask(c, "x", time.Minute); err != nil {
			t.Fatal(err)
		}
		w.box.Cut()
		if _, _, err := c.ReadMessage(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDelayKeepsOrderAndRate(t *testing.T) {
	inBubble(t, Options{Delay: 300 * time.Millisecond, Jitter: 200 * time.Millisecond, Seed: 7}, func(w *world) {
		head, lines, err := w.arrivals("GET", "/stream?n=20&ms=10")
		if err != nil || len(lines) != 20 {
			t.Fatal(len(lines), err)
		}
		if head < 600*time.Millisecond || head > time.Second {
			t.Errorf("head after %v", head)
		}
		// Delayed, not slowed down: 190 ms of lines take no longer than jitter adds.
		if spread := lines[19] - lines[0]; spread > 400*time.Millisecond {
			t.Errorf("the lines took %v", spread)
		}
		c := w.mustWebsocket()
		start := time.Now()
		if got, err := ask(c, "x", time.Minute); got != "x" || time.Since(start) < 600*time.Millisecond {
			t.Error(got, err, time.Since(start))
		}
	})
}

func TestBytesPerSecond(t *testing.T) {
	inBubble(t, Options{BytesPerSecond: 10_000}, func(w *world) {
		start := time.Now()
		_, text, err := w.call("GET", "/big?n=50000", "")
		if took := time.Since(start); err != nil || len(text) != 50000 || took < 5*time.Second || took > 6*time.Second {
			t.Errorf("%d bytes in %v, %v", len(text), took, err)
		}
		start = time.Now()
		w.echo("POST", "/echo", strings.Repeat("x", 20000))
		if took := time.Since(start); took < 4*time.Second {
			t.Errorf("there and back in %v", took)
		}
	})
}
