package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

func (s *service) poll(target string) answer {
	s.t.Helper()
	w := s.do("GET", target, "")
	a := s.decode(w, 200)
	h := w.Header()
	if h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) || !strings.Contains(h.Get("Cache-Control"), "no-store") {
		s.t.Errorf("%s: headers %v, %d bytes", target, h, w.Body.Len())
	}
	if a.Protocol != 1 || a.Cursor == "" || a.Messages == nil || a.Time == 0 {
		s.t.Errorf("%s: %s", target, w.Body)
	}
	return a
}

// The cursor that comes back is the acknowledgement: the same poll twice gives
// the same messages twice.
func TestPollIsRepeatable(t *testing.T) {
	s := newService(t, Options{})
	published := s.publish("a", 5)
	for range 2 {
		first := s.poll("/rooms/a?from=start&limit=2")
		if got := s.data(first.Messages); got != "1 2" {
			t.Fatalf("got %s", got)
		}
		for range 2 {
			second := s.poll("/rooms/a?n=1&cursor=" + first.Cursor)
			if got := s.data(second.Messages); got != "3 4 5" {
				t.Fatalf("got %s", got)
			}
			rest := s.poll("/rooms/a?wait=0&cursor=" + second.Cursor)
			if len(rest.Messages) != 0 {
				t.Fatalf("got %s", s.data(rest.Messages))
			}
			if again := s.poll("/rooms/a?wait=0&cursor=" + rest.Cursor); len(again.Messages) != 0 {
				t.Fatalf("the cursor of an empty answer gives %s", s.data(again.Messages))
			}
		}
	}
	if got := s.data(s.poll("/rooms/a?cursor=" + published[2].Cursor).Messages); got != "4 5" {
		t.Errorf("after a publish's own cursor: %s", got)
	}
	if got := s.data(s.poll("/rooms/a?last=1").Messages); got != "5" {
		t.Errorf("last=1: %s", got)
	}
}

func TestPollForms(t *testing.T) {
	s := newService(t, Options{})
	s.publish("a", 2)
	place := s.publish("b", 1)[0].Cursor
	s.publish("b", 1)
	form := s.do("POST", "/rooms/a,b/poll", "cursor="+place+"&from=start", "Content-Type", "text/plain")
	a := s.decode(form, 200)
	if got := s.data(a.Messages); got != "1 2 1" && got != "1 1 2" {
		t.Errorf("two rooms: %s", got)
	}
	if !strings.Contains(a.Cursor, "a=") || !strings.Contains(a.Cursor, ",b=") && !strings.Contains(a.Cursor, "b=") {
		t.Errorf("cursor %s", a.Cursor)
	}
	w := s.do("GET", "/rooms/a?from=start&format=bare", "")
	if a := s.decode(w, 200); len(a.Messages) != 2 || string(a.Messages[1]) != "2" {
		t.Errorf("bare: %s", w.Body)
	}
}

func TestPollBytesAreBounded(t *testing.T) {
	s := newService(t, Options{PollBytes: 10_000})
	text := strings.Repeat("x", 3000)
	for range 10 {
		s.decode(s.do("POST", "/rooms/a", text), 201)
	}
	got, cursor := 0, "0"
	for polls := 0; got < 10; polls++ {
		a := s.poll("/rooms/a?wait=0&cursor=" + cursor)
		if len(a.Messages) == 0 || len(a.Messages) > 5 || polls > 10 {
			t.Fatalf("poll %d has %d messages", polls, len(a.Messages))
		}
		got, cursor = got+len(a.Messages), a.Cursor
	}
}

// What the history has lost is told, in either form.
func TestPollGap(t *testing.T) {
	s := newServiceOn(t, Options{}, memory.Options{HistoryMessages: 2})
	first := s.publish("a", 5)[0]
	a := s.poll("/rooms/a?cursor=" + first.Cursor)
	if got := s.data(a.Messages); got != "gap 4 5" {
		t.Errorf("got %s", got)
	}
	w := s.do("GET", "/rooms/a?format=bare&cursor="+first.Cursor, "")
	a = s.decode(w, 200)
	if len(a.Gaps) != 1 || len(a.Messages) != 2 || !strings.Contains(string(a.Gaps[0]), `"missed":2`) {
		t.Errorf("bare: %s", w.Body)
	}
	w = s.do("GET", "/rooms/a?wait=0&cursor=a=0ldep0ch.7.x", "")
	if a = s.decode(w, 200); len(a.Messages) == 0 || !strings.Contains(string(a.Messages[0]), `"reason":"lost"`) {
		t.Errorf("another epoch: %s", w.Body)
	}
}

func TestPollWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Options{})
		defer s.close()
		start := time.Now()
		a := s.poll("/rooms/a")
		if waited := time.Since(start); waited != 20*time.Second || len(a.Messages) != 0 {
			t.Errorf("an empty poll came back after %v with %s", waited, s.data(a.Messages))
		}
		// What comes between two polls is not lost.
		s.publish("a", 1)
		if b := s.poll("/rooms/a?cursor=" + a.Cursor); s.data(b.Messages) != "1" {
			t.Errorf("got %s", s.data(b.Messages))
		} else {
			a = b
		}
		start = time.Now()
		go func() {
			time.Sleep(7 * time.Second)
			s.do("POST", "/rooms/a", "2")
		}()
		b := s.poll("/rooms/a?wait=55&cursor=" + a.Cursor)
		if waited := time.Since(start); waited < 7*time.Second || waited > 8*time.Second || s.data(b.Messages) != "2" {
			t.Errorf("a waiting poll came back after %v with %s", waited, s.data(b.Messages))
		}
	})
}

func TestPollEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Options{})
		defer s.close()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan time.Time)
		start := time.Now()
		go func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler { // no answer is a wrong one
					t.Errorf("the handler ended with %v", p)
				}
				done <- time.Now()
			}()
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/rooms/a?wait=55", nil))
		}()
		time.Sleep(time.Second)
		cancel()
		if took := (<-done).Sub(start); took != time.Second {
			t.Errorf("the poll of a client that left ended after %v", took)
		}
		if n := s.hub.Stats().Subscribers["poll"]; n != 0 {
			t.Errorf("%d polls are left", n)
		}
	})
}

func TestPollWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Options{})
		defer s.close()
		before := s.publish("a", 1)[0]
		answers := make(chan answer)
		go func() { answers <- s.poll("/rooms/a?wait=55&cursor=" + before.Cursor) }()
		time.Sleep(time.Second)
		if err := s.hub.Drain(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		a := <-answers
		if a.Bye == nil || a.Bye.Code != "draining" || a.Bye.Reconnect != "backoff" || !strings.HasPrefix(a.Cursor, before.Cursor) {
			t.Errorf("a waiting poll got %+v", a)
		}
		w := s.do("GET", "/rooms/a", "")
		if a := s.decode(w, 503); a.Error.Code != "draining" || w.Header().Get("Retry-After") == "" {
			t.Errorf("a new poll got %+v", a.Error)
		}
		if a := s.decode(s.do("GET", "/readyz", ""), 503); a.Error.Code != "draining" {
			t.Errorf("readyz says %+v", a.Error)
		}
		s.decode(s.do("GET", "/healthz", ""), 200)
	})
}

func TestPollOfStoreFaults(t *testing.T) {
	s := newService(t, Options{})
	cursor := s.publish("a", 1)[0].Cursor
	s.store.fail(fmt.Errorf("10.0.0.1: %w", hub.ErrBehind))
	w := s.do("GET", "/rooms/a?from=start", "")
	if a := s.decode(w, 503); a.Error.Code != "behind" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("behind: %+v", a.Error)
	}
	s.store.fail(nil)
	if got := s.data(s.poll("/rooms/a?from=start").Messages); got != "1" {
		t.Errorf("afterwards: %s, cursor %s", got, cursor)
	}
}

// Old proxies speak HTTP/1.0: the answer is complete and says its length.
func TestPollOverHTTP10(t *testing.T) {
	s := newService(t, Options{})
	s.publish("a", 1)
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET /rooms/a?from=start HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.ContentLength != int64(len(body)) || len(resp.TransferEncoding) != 0 || !strings.Contains(string(body), `"data":1`) {
		t.Errorf("%v %v: %s", err, resp.Header, body)
	}
}

// A large answer has its length too, and the connection serves the next poll.
func TestPollsShareAConnection(t *testing.T) {
	s := newService(t, Options{})
	for range 20 {
		s.decode(s.do("POST", "/rooms/a", strings.Repeat("x", 10_000)), 201)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	for range 3 {
		resp, err := server.Client().Get(server.URL + "/rooms/a?from=start")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.ContentLength != int64(len(body)) || len(body) < 200_000 {
			t.Errorf("%v: %d bytes, announced %d", err, len(body), resp.ContentLength)
		}
	}
}
