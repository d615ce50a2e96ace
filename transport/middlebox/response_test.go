package middlebox

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A stream of five lines, one a second.
const fiveLines = "/stream?n=5&ms=1000&type="

func seconds(times []time.Duration) []int {
	var s []int
	for _, t := range times {
		s = append(s, int(t/time.Second))
	}
	return s
}

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		method string
		kind   string
		head   int
		lines  []int
		broken bool
	}{
		{name: "honest", head: 0, lines: []int{0, 1, 2, 3, 4}},
		{name: "hold response", o: Options{Hold: HoldResponse}, head: 4, lines: []int{4, 4, 4, 4, 4}},
		{name: "hold body", o: Options{Hold: HoldBody}, head: 0, lines: []int{4, 4, 4, 4, 4}},
		{name: "hold event streams: one", o: Options{Hold: HoldBody, Held: EventStreams}, kind: "text/event-stream", lines: []int{4, 4, 4, 4, 4}},
		{name: "hold event streams: text", o: Options{Hold: HoldBody, Held: EventStreams}, kind: "text/plain", lines: []int{0, 1, 2, 3, 4}},
		{name: "hold GET event streams: POST", o: Options{Hold: HoldBody, Held: GETEventStreams}, method: "POST", kind: "text/event-stream", lines: []int{0, 1, 2, 3, 4}},
		{name: "hold GET event streams: GET", o: Options{Hold: HoldBody, Held: GETEventStreams}, kind: "text/event-stream", lines: []int{4, 4, 4, 4, 4}},
		// Seven bytes a line.
		{name: "hold first", o: Options{HoldFirst: 20}, head: 2, lines: []int{2, 2, 2, 3, 4}},
		{name: "lumps", o: Options{Lumps: 14}, head: 0, lines: []int{1, 1, 3, 3, 4}},
		{name: "batch", o: Options{Batch: 2500 * time.Millisecond}, head: 0, lines: []int{2, 2, 2, 4, 4}},
		{name: "cap", o: Options{CapResponse: 2500 * time.Millisecond}, head: 0, lines: []int{0, 1, 2}, broken: true},
		{name: "cap while held", o: Options{CapResponse: 2500 * time.Millisecond, Hold: HoldResponse}, head: 2, broken: true},
		{name: "1.0", o: Options{HTTP10: true}, head: 0, lines: []int{0, 1, 2, 3, 4}},
		{name: "1.0 and lumps", o: Options{HTTP10: true, Lumps: 14}, head: 0, lines: []int{1, 1, 3, 3, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.o, func(w *world) {
				method := c.method
				if method == "" {
					method = "GET"
				}
				head, lines, err := w.arrivals(method, fiveLines+c.kind)
				if int(head/time.Second) != c.head || !slices.Equal(seconds(lines), c.lines) || (err != nil) != c.broken {
					t.Errorf("head %v, lines %v, %v", head, lines, err)
				}
				if method == "GET" && !c.broken {
					if got := w.echo("GET", "/echo", ""); got.Method != "GET" {
						t.Errorf("the next request saw %+v", got)
					}
				}
			})
		})
	}
}

func TestGzipHold(t *testing.T) {
	inBubble(t, Options{GzipHold: true}, func(w *world) {
		r, _ := http.NewRequest("GET", "http://box"+fiveLines, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		start := time.Now()
		resp, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if strings.Count(string(text), "line") != 5 || resp.Header.Get("Content-Encoding") != "gzip" || time.Since(start) < 4*time.Second {
			t.Errorf("%q %v after %v", text, err, time.Since(start))
		}
		_, lines, _ := w.arrivals("GET", fiveLines)
		if !slices.Equal(seconds(lines), []int{0, 1, 2, 3, 4}) {
			t.Errorf("without Accept-Encoding: %v", lines)
		}
	})
}

func TestHTTP10(t *testing.T) {
	inBubble(t, Options{HTTP10: true}, func(w *world) {
		resp, _, err := w.call("GET", "/stream?n=1", "")
		if err != nil || resp.Proto != "HTTP/1.0" || len(resp.TransferEncoding) != 0 || !resp.Close {
			t.Errorf("%+v %v", resp, err)
		}
		if e := w.echo("POST", "/echo", "body"); e.Proto != "HTTP/1.0" || e.Body != "body" {
			t.Errorf("the server saw %+v", e)
		}
		if s := w.box.Stats(); s.Connections != s.Requests {
			t.Errorf("a connection was used again: %+v", s)
		}
	})
}

func TestCapWhileTheServerThinks(t *testing.T) {
	inBubble(t, Options{CapResponse: 10 * time.Second}, func(w *world) {
		if got := w.status("GET", "/slow?ms=9000", ""); got != 200 {
			t.Errorf("9 s: %d", got)
		}
		start := time.Now()
		if got := w.status("GET", "/slow?ms=60000", ""); got != 504 || time.Since(start) != 10*time.Second {
			t.Errorf("60 s: %d after %v", got, time.Since(start))
		}
	})
}

func TestLoss(t *testing.T) {
	for _, status := range []int{0, 502} {
		inBubble(t, Options{Loss: 0.3, LossStatus: status, Seed: 1}, func(w *world) {
			lost := 0
			for range 100 {
				if got := w.status("POST", "/echo", "x"); got == status {
					lost++
				} else if got != 200 {
					t.Fatalf("status %d", got)
				}
			}
			if lost < 15 || lost > 45 || w.backend.seen("POST /echo") != 100 || w.box.Stats().Lost != lost {
				t.Errorf("%d lost, %d carried out", lost, w.backend.seen("POST /echo"))
			}
			if got := w.status("GET", "/echo", ""); got != 200 {
				t.Errorf("GET: %d", got)
			}
		})
	}
	inBubble(t, Options{Loss: 1, LossMethods: []string{"GET"}}, func(w *world) {
		if get, post := w.status("GET", "/echo", ""), w.status("POST", "/echo", ""); get != 0 || post != 200 {
			t.Error(get, post)
		}
	})
}

func TestLossIsSeeded(t *testing.T) {
	pattern := func(seed uint64) (s string) {
		inBubble(t, Options{Loss: 0.5, LossStatus: 502, Seed: seed}, func(w *world) {
			for range 30 {
				s += http.StatusText(w.status("POST", "/echo", ""))[:1]
			}
		})
		return s
	}
	if first, again, other := pattern(1), pattern(1), pattern(2); first != again || first == other {
		t.Error("the seed does not decide")
	}
}

func TestDropReused(t *testing.T) {
	inBubble(t, Options{DropReused: true}, func(w *world) {
		// Go's client repeats a GET that was dropped, and no POST.
		for n := range 3 {
			if got := w.status("GET", "/echo", ""); got != 200 {
				t.Errorf("GET %d: %d", n, got)
			}
		}
		if seen, lost := w.backend.seen("GET /echo"), w.box.Stats().Lost; seen != 5 || lost != 2 {
			t.Errorf("3 GETs reached the server %d times, %d answers were lost", seen, lost)
		}
		if got := w.status("POST", "/echo", "x"); got != 0 || w.backend.seen("POST /echo") != 1 {
			t.Errorf("POST: %d, carried out %d times", got, w.backend.seen("POST /echo"))
		}
	})
}
