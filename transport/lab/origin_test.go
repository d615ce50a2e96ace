//go:build linux

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// origin is a server that takes no measures against middleboxes: no headers
// against caches and buffers, no keys, no heartbeats.
type origin struct {
	host string // host:port

	mu   sync.Mutex
	hits map[string]int // guarded by mu; by method and target
}

// seen is what /request says about a request.
type seen struct {
	Method, Proto string
	Header        http.Header
}

// beat is the time between two lines of an origin's stream, which has beats.
const (
	beat  = 250 * time.Millisecond
	beats = 8
)

func startOrigin(t testing.TB) *origin {
	o := &origin{hits: map[string]int{}}
	s := httptest.NewServer(o)
	t.Cleanup(func() {
		s.CloseClientConnections() // streams included
		s.Close()
	})
	o.host = s.Listener.Addr().String()
	return o
}

func (o *origin) count(target string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hits[target]
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.hits[r.Method+" "+r.URL.RequestURI()]++
	hit := o.hits[r.Method+" "+r.URL.RequestURI()]
	o.mu.Unlock()
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
	switch r.URL.Path {
	case "/stream":
		w.Header().Set("Content-Type", r.FormValue("type"))
		for i := range beats {
			if i > 0 {
				wait(beat)
			}
			fmt.Fprintf(w, "data: line %d %d\n\n", i, time.Now().UnixNano())
			_ = http.NewResponseController(w).Flush()
		}
	case "/hits":
		ms, _ := strconv.Atoi(r.FormValue("ms"))
		wait(time.Duration(ms) * time.Millisecond)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		fmt.Fprint(w, hit)
	case "/ws":
		u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, p, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, p) != nil {
				return
			}
		}
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(seen{r.Method, r.Proto, r.Header})
	}
}

// The following ask for something through a path, and fail the test where
// there is no answer at all.

func (p *path) status(t testing.TB, method, target, body string, headers ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	resp, done, err := p.do(ctx, method, p.url+target, "", body, headers...)
	if err != nil {
		return 0
	}
	defer done()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (p *path) sees(t testing.TB, method string, headers ...string) seen {
	t.Helper()
	resp, done, err := p.do(t.Context(), method, p.url+"/request", "", "", headers...)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var s seen
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// hit is how often the origin had been asked when it gave this answer.
func (p *path) hit(t testing.TB, target string) int {
	t.Helper()
	resp, done, err := p.do(t.Context(), http.MethodGet, p.url+target, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	body, _ := io.ReadAll(resp.Body)
	n, err := strconv.Atoi(string(body))
	if err != nil {
		t.Fatalf("%d %.80q", resp.StatusCode, body)
	}
	return n
}

// flows tells whether the lines of a stream come one by one. Half of its time
// is allowed to be eaten by the machine.
func (p *path) flows(t testing.TB, method, kind, accept string) bool {
	t.Helper()
	resp, done, err := p.do(t.Context(), method, p.url+"/stream?type="+kind+"&n="+fmt.Sprint(nonce.Add(1)), accept, "")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var first, last time.Time
	n := 0
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
		if strings.HasPrefix(s.Text(), "data:") {
			if n++; n == 1 {
				first = time.Now()
			}
			last = time.Now()
		}
	}
	if n != beats {
		t.Fatalf("%d lines of %d, %v", n, beats, s.Err())
	}
	return last.Sub(first) > beat*(beats-1)/2
}

// delays are the times that the lines of a stream are on their way.
func (p *path) delays(t testing.TB) (all []time.Duration) {
	t.Helper()
	resp, done, err := p.do(t.Context(), http.MethodGet, p.url+"/stream?type=text/event-stream&n="+fmt.Sprint(nonce.Add(1)), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		var line int
		var sent int64
		if n, _ := fmt.Sscanf(s.Text(), "data: line %d %d", &line, &sent); n == 2 {
			all = append(all, time.Since(time.Unix(0, sent)))
		}
	}
	return all
}

// echoes tells what becomes of a WebSocket: "refused" with the status, "silent",
// "broken" or "good".
func (p *path) echoes(t testing.TB) (outcome, int) {
	t.Helper()
	c, status, err := p.dialWS(t.Context(), p.url+"/ws")
	if err != nil {
		if status != 0 && status != 101 {
			return refuses, status
		}
		if timeout(err) {
			return silent, 0
		}
		return broken, 0
	}
	defer c.Close()
	_ = c.WriteMessage(websocket.TextMessage, []byte("hello"))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, text, err := c.ReadMessage()
	switch {
	case err == nil && string(text) == "hello":
		return good, 101
	case timeout(err):
		return silent, 101
	}
	return broken, 101
}

// silence tells how long a WebSocket stays good without traffic, and whether
// its end is heard of. It gives up after most.
func (p *path) silence(t testing.TB, most time.Duration) (time.Duration, bool) {
	t.Helper()
	c, _, err := p.dialWS(t.Context(), p.url+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	_ = c.SetReadDeadline(began.Add(most))
	_, _, err = c.ReadMessage()
	return time.Since(began), !timeout(err)
}
