package middlebox

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHonestRequests(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		e := w.echo("POST", "/echo?a=b%2F", "hello", "Authorization", "Bearer x", "X-Custom", "1", "Expect", "100-continue")
		if e.URI != "/echo?a=b%2F" || e.Body != "hello" || e.Header.Get("Authorization") != "Bearer x" || e.Header.Get("X-Custom") != "1" {
			t.Errorf("%+v", e)
		}
		for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH"} {
			if e := w.echo(method, "/echo", ""); e.Method != method {
				t.Errorf("%s became %+v", method, e)
			}
		}
		if resp, text, err := w.call("HEAD", "/echo", ""); err != nil || resp.StatusCode != 200 || text != "" {
			t.Error(resp, text, err)
		}
		if s := w.box.Stats(); s.Connections != 1 {
			t.Errorf("keep-alive was not kept: %+v", s)
		}
	})
}

func TestStrip(t *testing.T) {
	names := []string{"Authorization", "Cookie", "Idempotency-Key", "X-Custom", "Last-Event-ID", "Accept"}
	inBubble(t, Options{Strip: names, StripResponse: []string{"X-From"}}, func(w *world) {
		var headers []string
		for _, n := range names {
			headers = append(headers, n, "value")
		}
		resp, _, err := w.call("GET", "/echo", "", headers...)
		if err != nil || resp.Header.Get("X-From") != "" {
			t.Error(resp, err)
		}
		e := w.echo("POST", "/echo", "x", append(headers, "X-Kept", "1")...)
		for _, n := range names {
			if e.Header.Get(n) != "" {
				t.Errorf("%s passed", n)
			}
		}
		if e.Header.Get("X-Kept") != "1" {
			t.Error("too much was stripped")
		}
	})
}

func TestLimits(t *testing.T) {
	inBubble(t, Options{Methods: []string{"GET", "POST"}, MaxURL: 50, MaxBody: 100}, func(w *world) {
		for _, c := range []struct {
			method, path string
			body, status int
		}{
			{"GET", "/echo", 0, 200}, {"POST", "/echo", 100, 200}, {"POST", "/echo", 101, 413},
			{"PUT", "/echo", 0, 403}, {"DELETE", "/echo", 0, 403}, {"OPTIONS", "/echo", 0, 403},
			{"GET", "/" + strings.Repeat("x", 49), 0, 200}, {"GET", "/" + strings.Repeat("x", 50), 0, 414},
		} {
			if got := w.status(c.method, c.path, strings.Repeat("x", c.body)); got != c.status {
				t.Errorf("%s, %d bytes of URL, %d of body: %d", c.method, len(c.path), c.body, got)
			}
		}
	})
}

func TestCache(t *testing.T) {
	inBubble(t, Options{Cache: 30 * time.Second}, func(w *world) {
		for i, want := range []int{1, 1, 2} {
			if got := w.echo("GET", "/echo", "", "Cache-Control", "no-cache"); got.Hit != want {
				t.Errorf("request %d was answered by hit %d", i, got.Hit)
			}
			time.Sleep(20 * time.Second)
		}
		w.status("POST", "/echo", "")
		w.status("POST", "/echo", "")
		if n := w.backend.seen("POST /echo"); n != 2 {
			t.Errorf("%d POSTs", n)
		}
		if e := w.echo("GET", "/echo?n=2", ""); e.URI != "/echo?n=2" {
			t.Error("another URL got a cached answer")
		}
	})
}

func TestMerge(t *testing.T) {
	inBubble(t, Options{Merge: true}, func(w *world) {
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				if got := w.status("GET", fmt.Sprintf("/slow?ms=1000&n=%d", i/3), ""); got != 200 {
					t.Errorf("status %d", got)
				}
			})
		}
		all.Wait()
		if n := w.backend.seen("GET /slow"); n != 2 || w.box.Stats().Merged != 4 {
			t.Errorf("%d requests reached the server, %+v", n, w.box.Stats())
		}
		w.status("GET", "/slow?ms=1000&n=0", "")
		if n := w.backend.seen("GET /slow"); n != 3 {
			t.Error("a finished answer was used again")
		}
	})
}

// Those who wait for a request that breaks off ask for themselves.
func TestMergeSurvivesItsLeader(t *testing.T) {
	inBubble(t, Options{Merge: true}, func(w *world) {
		leader, err := w.dial(w.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(leader, "GET /slow?ms=5000 HTTP/1.1\r\nHost: box\r\n\r\n")
		synctest.Wait()
		done := make(chan int)
		go func() { done <- w.status("GET", "/slow?ms=5000", "") }()
		time.Sleep(time.Second)
		leader.Close()
		if got := <-done; got != 200 {
			t.Errorf("status %d", got)
		}
	})
}

func TestRepeat(t *testing.T) {
	for _, c := range []struct {
		repeat             Repeat
		gets, posts, dials int
	}{{RepeatNone, 1, 1, 1}, {RepeatPOST, 1, 2, 1}, {RepeatAll, 2, 2, 2}} {
		inBubble(t, Options{Repeat: c.repeat}, func(w *world) {
			w.echo("GET", "/echo", "")
			if e := w.echo("POST", "/echo", "body"); e.Body != "body" {
				t.Errorf("%+v", e)
			}
			conn := w.mustWebsocket()
			if got, err := ask(conn, "x", time.Second); got != "x" {
				t.Error(got, err)
			}
			synctest.Wait()
			gets, posts, dials := w.backend.seen("GET /echo"), w.backend.seen("POST /echo"), w.backend.seen("GET /ws")
			if gets != c.gets || posts != c.posts || dials != c.dials {
				t.Errorf("repeat %d: %d GETs, %d POSTs, %d upgrades", c.repeat, gets, posts, dials)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		answer   *Answer
		statuses []int
		header   string
	}{
		{CaptivePortal(), []int{200, 200}, "Content-Type"},
		{ProxyAuthRequired(), []int{407, 407}, "Proxy-Authenticate"},
		{Busy(429, 1500*time.Millisecond, 2), []int{429, 429, 200}, "Retry-After"},
		{Busy(503, time.Second, 0), []int{503, 503, 503}, "Retry-After"},
	} {
		inBubble(t, Options{Answer: c.answer}, func(w *world) {
			for i, want := range c.statuses {
				resp, _, err := w.call("GET", "/echo", "")
				if err != nil || resp.StatusCode != want || resp.Header.Get(c.header) == "" && want != 200 {
					t.Errorf("answer %d: %+v, %v", i, resp, err)
				}
			}
		})
	}
	inBubble(t, Options{Answer: &Answer{Status: 503, Share: 0.5}, Seed: 3}, func(w *world) {
		n := 0
		for range 100 {
			if w.status("GET", "/echo", "") == 503 {
				n++
			}
		}
		if n < 30 || n > 70 {
			t.Errorf("%d of 100", n)
		}
	})
}

func TestSetAtRunTime(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		for _, want := range []int{200, 503, 200} {
			o := Options{}
			if want == 503 {
				o.Answer = Busy(503, time.Second, 0)
			}
			if err := w.box.Set(o); err != nil {
				t.Fatal(err)
			}
			if got := w.status("GET", "/echo", ""); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}
		if err := w.box.Set(Options{Loss: 2}); err == nil {
			t.Error("a loss of 200 % was accepted")
		}
	})
}

func TestCombined(t *testing.T) {
	o := Options{Upgrade: UpgradeRefuse, Repeat: RepeatPOST, Loss: 0.5, Strip: []string{"X-Custom"}, HTTP10: true, Delay: 50 * time.Millisecond, Hold: HoldResponse}
	inBubble(t, o, func(w *world) {
		answered := 0
		for range 20 {
			if w.status("POST", "/echo", "x", "X-Custom", "1") == 200 {
				answered++
			}
		}
		synctest.Wait()
		if n := w.backend.seen("POST /echo"); n != 40 || answered == 0 || answered == 20 {
			t.Errorf("%d reached the server, %d answered", n, answered)
		}
		if _, resp, err := w.websocket(time.Minute); err == nil || resp.StatusCode != 403 {
			t.Error(resp, err)
		}
	})
}

func TestForward(t *testing.T) {
	onSockets(t, Options{}, func(w *world) {
		// A whole URL, and CONNECT; both go to the box's server.
		for _, first := range []string{"GET http://example.test/echo?x=1 HTTP/1.1\r\nHost: example.test\r\n\r\n", "CONNECT example.test:80 HTTP/1.1\r\nHost: example.test:80\r\n\r\n"} {
			conn, err := w.dial(w.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, first)
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, &http.Request{Method: strings.Fields(first)[0]})
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			if resp.Request.Method == "CONNECT" {
				io.WriteString(conn, "GET /echo?x=1 HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n")
				if resp, err = http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			text, _ := io.ReadAll(resp.Body)
			if !strings.Contains(string(text), `"URI":"/echo?x=1"`) {
				t.Errorf("%s", text)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for _, o := range []Options{
		{Delay: -1}, {KillAtBytes: -1}, {Loss: 1.1}, {UpgradeStatus: 101}, {LossStatus: 1000}, {Answer: &Answer{}}, {MaxURL: -1},
	} {
		if o.Validate() == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := Start(Config{}); err == nil {
		t.Error("a box without upstream was started")
	}
}

// The box survives nonsense.
func TestNonsense(t *testing.T) {
	inBubble(t, Options{}, func(w *world) {
		for _, text := range []string{"\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n", "\x16\x03\x01\x02", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"} {
			conn, err := w.dial(w.Context())
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(time.Second))
			io.WriteString(conn, text)
			io.Copy(io.Discard, conn)
			conn.Close()
		}
		if got := w.status("GET", "/echo", ""); got != 200 {
			t.Errorf("status %d", got)
		}
	})
}
