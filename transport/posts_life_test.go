package transport

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// A connection that comes with other things in between is taken over ever more
// seldom; one that does not publish, and one of whose requests the log wants to
// hear, never.
func TestPostsNeed(t *testing.T) {
	s := newSite(t, siteSetup{takes: true})
	p := s.dial()
	for need := 2; need <= 16; need *= 2 {
		p.publishes(need - 1)
		s.await(0)
		p.publishes(1)
		s.await(1)
		p.publishes(3)
		p.ask("GET /rooms/a/history HTTP/1.1\r\nHost: h\r\n\r\n")
		s.await(0)
	}
	for _, headers := range []string{"Authorization: x\r\n", "Last-Event-ID: x\r\n"} {
		p := s.dial()
		for range 10 {
			p.ask(postOf("a", headers, "1"))
		}
		s.await(0)
	}
	quiet := newSite(t, siteSetup{takes: true, level: slog.LevelDebug})
	quiet.dial().publishes(10)
	if n := strings.Count(quiet.log.String(), "path=/rooms/warm"); n != 10 || quiet.Parked() != 0 {
		t.Errorf("%d requests of 10 are logged, %d connections are taken over", n, quiet.Parked())
	}
}

// A publisher that does not read its answers gets no more than its connection
// holds, disturbs nobody, and has lost nothing when it reads again.
func TestPostsFrozen(t *testing.T) {
	for _, waits := range []bool{false, true} {
		s := newSite(t, siteSetup{takes: true, waits: waits})
		p := s.dial()
		p.publishes(4)
		s.await(1)
		const each, most = 100, 100_000
		request := []byte(strings.Repeat(postOf("frozen", "", "1"), each))
		p.SetWriteDeadline(time.Now().Add(time.Second))
		sent := 0
		var part int
		for sent = 0; sent < most; sent += each {
			if n, err := p.Conn.Write(request); err != nil {
				part = n
				break
			}
		}
		if sent >= most {
			t.Fatal("the server takes on and on from a client that does not read")
		}
		other := s.dial()
		other.publishes(20)
		p.SetWriteDeadline(time.Now().Add(20 * time.Second))
		done := make(chan struct{})
		go func() {
			p.Conn.Write(request[part:])
			p.send(postOf("frozen", "Connection: close\r\n", "1"))
			close(done)
		}()
		for i := range sent + each + 1 {
			answer, err := p.raw()
			if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 201") || !strings.Contains(answer, fmt.Sprintf(`"offset":%d,`, i+1)) {
				t.Fatalf("answer %d of %d: %v %q", i+1, sent+each+1, err, answer)
			}
		}
		<-done
		if rest := p.rest(); rest != "" {
			t.Errorf("then came %q", rest)
		}
	}
}

// What goes wrong in the store is answered alike, told in the log, and ends
// nothing.
func TestPostsFaults(t *testing.T) {
	for name, set := range map[string]func(*faultyStore){
		"unavailable": func(f *faultyStore) { f.fail(hub.ErrUnavailable) },
		"unknown":     func(f *faultyStore) { f.fail(hub.ErrOutcomeUnknown) },
		"panics": func(f *faultyStore) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.panics = true
		},
		"hangs": func(f *faultyStore) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.hangs = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{PublishTimeout: 50 * time.Millisecond}
			plain, taking := newSite(t, siteSetup{waits: true, o: o}), newSite(t, siteSetup{takes: true, waits: true, o: o})
			a, b := plain.dial(), taking.dial()
			a.publishes(4)
			b.publishes(4)
			taking.await(1)
			set(plain.store)
			set(taking.store)
			sorted := func(answer string) string { // of an error the lines are in any order
				res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
				if err != nil {
					t.Fatal(err)
				}
				res.Header.Del("Date")
				body, _ := io.ReadAll(res.Body)
				return fmt.Sprint(res.Status, res.Header, steady(string(body)))
			}
			for range 3 {
				want, got := sorted(a.ask(postOf("warm", "", "1"))), sorted(b.ask(postOf("warm", "", "1")))
				retry := regexp.MustCompile(`retry_after_ms":\d+`)
				if retry.ReplaceAllString(got, "") != retry.ReplaceAllString(want, "") {
					t.Errorf("%s\nwant %s", got, want)
				}
			}
			if taking.Parked() != 1 {
				t.Error("the connection is not taken over any more")
			}
			line := regexp.MustCompile(`level=(WARN|ERROR) .*method=POST path=/rooms/warm`)
			if got, want := line.MatchString(taking.log.String()), line.MatchString(plain.log.String()); got != want || !want {
				t.Errorf("told: %v, want %v: %s", got, want, taking.log)
			}
		})
	}
}

// At the end a publish under way is answered and nothing follows; connections
// with nothing under way are closed.
func TestPostsDrain(t *testing.T) {
	s := newSite(t, siteSetup{takes: true, waits: true, o: Options{PublishTimeout: 300 * time.Millisecond}})
	busy, idle := s.dial(), s.dial()
	busy.publishes(4)
	idle.publishes(4)
	s.await(2)
	s.store.mu.Lock()
	s.store.hangs = true
	s.store.mu.Unlock()
	busy.send(postOf("warm", "", "1") + postOf("warm", "", "2"))
	time.Sleep(20 * time.Millisecond)
	stopped := make(chan error, 1)
	go func() { stopped <- s.http.Config.Shutdown(t.Context()) }()
	if rest := idle.rest(); rest != "" {
		t.Errorf("the idle one got %q", rest)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	rest := busy.rest()
	if strings.Count(rest, "HTTP/1.1 503") != 1 || !strings.Contains(rest, "Connection: close\r\n") {
		t.Errorf("the busy one got %q", rest)
	}
}

// Many publish and repeat what they have published at the same time; each key
// has one offset, and they have all that there are.
func TestPostsMany(t *testing.T) {
	for _, waits := range []bool{false, true} {
		s := newSite(t, siteSetup{takes: true, waits: waits})
		const clients, each = 16, 60
		offsets := make(chan string, 2*clients*each)
		for n := range clients {
			p := s.dial()
			go func() {
				for i := range each {
					for range 2 {
						p.send(postOf("many", fmt.Sprintf("Idempotency-Key: %d-%d\r\n", n, i), fmt.Sprint(i)))
						answer, err := p.raw()
						if _, after, ok := strings.Cut(answer, `"offset":`); ok && err == nil {
							offset, _, _ := strings.Cut(after, ",")
							offsets <- offset
						} else {
							offsets <- fmt.Sprint(err, answer)
						}
					}
				}
			}()
		}
		seen := make(map[string]int)
		for range 2 * clients * each {
			seen[<-offsets]++
		}
		for i := range clients * each {
			if seen[strconv.Itoa(i+1)] != 2 {
				t.Fatalf("waits %v, offset %d: %d of 2; %v", waits, i+1, seen[strconv.Itoa(i+1)], seen)
			}
		}
		s.await(clients)
	}
}

// A poll and publishes take turns on a connection without its going back.
func TestPostsAndPolls(t *testing.T) {
	s := newSite(t, siteSetup{takes: true})
	p := s.dial()
	p.publishes(2)
	s.await(1)
	cursor := "mixed=0"
	for i := range 20 {
		p.ask(postOf("mixed", "", fmt.Sprint(i)))
		answer := p.ask("GET /rooms/mixed?wait=20&cursor=" + cursor + " HTTP/1.1\r\nHost: h\r\n\r\n")
		if !strings.Contains(answer, fmt.Sprintf(`"data":%d,`, i)) && !strings.Contains(answer, fmt.Sprintf(`"data":%d}`, i)) {
			t.Fatalf("%d: %s", i, answer)
		}
		_, after, _ := strings.Cut(answer, `"cursor":"mixed=`)
		at, _, _ := strings.Cut(after, `"`)
		cursor = "mixed=" + at
		if s.Parked() != 1 {
			t.Fatalf("%d: %d connections are taken over", i, s.Parked())
		}
	}
}

// What was published over a connection that was taken over is what its readers
// get.
func TestPostsDelivered(t *testing.T) {
	s := newSite(t, siteSetup{takes: true})
	p := s.dial()
	var want bytes.Buffer
	for i := range 10 {
		p.ask(postOf("read", "Content-Type: application/json\r\n", fmt.Sprintf(`{"n": %d}`, i)))
		fmt.Fprintf(&want, `{"n":%d} `, i)
	}
	page, err := s.hub.Read(t.Context(), hub.ReadRequest{Room: "read", Mode: hub.ReadOldest, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, m := range page.Messages {
		fmt.Fprintf(&got, "%s ", m.Data)
	}
	if got.String() != want.String() {
		t.Errorf("%s\nwant %s", &got, &want)
	}
}
