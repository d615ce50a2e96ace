package bench_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench"
	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

// faulty is a server of server-sent events that does to messages what must not
// be done: change gets what is to be sent to a subscriber.
type faulty struct {
	change func(subscriber, offset int, event string) []string
	twice  int           // offset of a message that is published again a moment later
	lies   int           // offset of a message whose publisher is told another one
	full   int           // offset from which on nothing is taken any more
	slow   time.Duration // that an answer to a publish takes, behind the message

	mu   sync.Mutex
	subs map[string][]chan string // guarded by mu, by room
	next map[string]int           // guarded by mu
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	room, _, reading := strings.Cut(strings.TrimPrefix(r.URL.Path, "/rooms/"), "/")
	if reading {
		f.read(w, r, room)
		return
	}
	data, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full != 0 && f.next[room]+1 >= f.full {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "{\"protocol\":1,\"error\":{\"code\":\"keys_full\",\n\"message\":\"there is no more room\"}}\r\n")
		return
	}
	offset := f.publish(room, data)
	w.WriteHeader(http.StatusCreated)
	told := offset
	if offset == f.lies {
		time.Sleep(50 * time.Millisecond) // the readers have it first
		told++
	}
	time.Sleep(f.slow)
	fmt.Fprintf(w, `{"room":%q,"offset":%d}`, room, told)
	if offset == f.twice {
		time.AfterFunc(50*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.publish(room, data)
		})
	}
}

func (f *faulty) publish(room string, data []byte) int {
	f.next[room]++
	offset := f.next[room]
	event := fmt.Sprintf(`{"type":"message","room":%q,"offset":%d,"epoch":"e","id":"i%d","time":1,"data":%s}`, room, offset, offset, data)
	for i, c := range f.subs[room] {
		for _, e := range f.change(i, offset, event) {
			c <- e
		}
	}
	return offset
}

func (f *faulty) read(w http.ResponseWriter, r *http.Request, room string) {
	c := make(chan string, 1000)
	f.mu.Lock()
	i := len(f.subs[room])
	f.subs[room] = append(f.subs[room], c)
	fmt.Fprintf(w, "data: {\"type\":\"hello\",\"cursor\":\"%s=0\"}\n\n", room)
	f.mu.Unlock()
	w.(http.Flusher).Flush()
	for {
		select {
		case e := <-c:
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, e)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func TestFaultsAreFound(t *testing.T) {
	var kept string
	same := func(_, _ int, event string) []string { return []string{event} }
	for name, tt := range map[string]struct {
		change func(subscriber, offset int, event string) []string
		count  func(report.Checks) int64
		want   int64
	}{
		"none": {same, report.Checks.Faults, 0},
		"lost": {func(i, offset int, event string) []string {
			if i == 1 && offset == 5 {
				return nil
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Lost }, 1},
		"lost at the end": {func(i, offset int, event string) []string {
			if i == 1 && offset > 15 {
				return nil
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Lost }, 5},
		"repeated": {func(i, offset int, event string) []string {
			if i == 2 && offset == 7 {
				return []string{event, event}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Repeated }, 1},
		"out of order": {func(i, offset int, event string) []string {
			switch {
			case i == 3 && offset == 4:
				kept = event
				return nil
			case i == 3 && offset == 5:
				return []string{event, kept}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Disordered*100 + c.Faults() }, 101},
		"under another offset": {func(i, offset int, event string) []string {
			if i == 4 && (offset == 8 || offset == 9) {
				return []string{strings.Replace(event, fmt.Sprintf(`"offset":%d`, offset), fmt.Sprintf(`"offset":%d`, 17-offset), 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return min(c.Faults(), 1) }, 1},
		"with other filling": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, "xx", "xy", 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Different*100 + c.Faults() }, 101},
		"cut short": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, "xx", "x", 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Different*100 + c.Faults() }, 101},
		// The data is another message's, which has another place in the room.
		"with another's number": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, `"s":6`, `"s":7`, 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Different }, 1},
		// What only some of the envelope's readers look at is the same for all.
		"with another id": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, `"id":"i6"`, `"id":"j6"`, 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return min(c.Different, 1)*100 + c.Faults() - c.Different }, 100}, // for one, or for the five others where it comes first
		"of another time": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, `"time":1`, `"time":2`, 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return min(c.Different, 1)*100 + c.Faults() - c.Different }, 100}, // for one, or for the five others where it comes first
		"in another room's name": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, `"room":"bench-`, `"room":"bunch-`, 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Different*100 + c.Faults() }, 101},
		// The subscriber comes back and gets it as it should be: it was wrong all the same.
		"as no JSON": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, `"id":`, `"id"`, 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Different }, 1},
		"of somebody else": {func(i, offset int, event string) []string {
			if i == 1 && offset == 6 {
				return []string{strings.Replace(event, `"data":{`, `"data":[`, 1) + "]"}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return c.Different }, 1},
		"of a history that began anew": {func(i, offset int, event string) []string {
			if i == 1 && offset == 20 {
				return []string{strings.Replace(event, `"epoch":"e"`, `"epoch":"f"`, 1)}
			}
			return []string{event}
		}, func(c report.Checks) int64 { return min(c.Different, 1)*100 + c.Faults() - c.Different }, 100}, // again for who gets it behind that one
		"told as a gap": {func(i, offset int, event string) []string {
			switch {
			case i == 1 && offset == 5:
				return []string{strings.Replace(`{"type":"gap","reason":"evicted","from":"ROOM=e.4.i4","to":"ROOM=e.5.i5","missed":1}`, "ROOM", roomOf(event), 2)}
			}
			return []string{event}
		}, report.Checks.Faults, 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&faulty{change: tt.change, subs: map[string][]chan string{}, next: map[string]int{}})
			defer server.Close()
			defer server.CloseClientConnections()
			r, err := run(t, "--url", server.URL, "--transport", "sse", "--subscribers", "6", "--messages", "20", "--outstanding", "4",
				"--until", "answered", "--publishers", "1", "--patience", "1s")
			if r == nil {
				t.Fatal(err)
			}
			if got := tt.count(r.Checks); got != tt.want {
				t.Errorf("%d, want %d: %+v, %v", got, tt.want, r.Checks, err)
			}
			if wantErr := tt.want > 0; (err != nil) != wantErr {
				t.Errorf("error %v, with %+v", err, r.Checks)
			}
			if err != nil && !errors.Is(err, bench.ErrFaults) {
				t.Errorf("%v is not ErrFaults", err)
			}
		})
	}
}

// A message that a server keeps twice has two offsets, and all readers get it
// again when it has long arrived.
func TestPublishedTwice(t *testing.T) {
	same := func(_, _ int, event string) []string { return []string{event} }
	server := httptest.NewServer(&faulty{change: same, twice: 5, subs: map[string][]chan string{}, next: map[string]int{}})
	defer server.Close()
	defer server.CloseClientConnections()
	r, err := run(t, "--url", server.URL, "--transport", "sse", "--subscribers", "6", "--messages", "20", "--rate", "50", "--publishers", "1", "--patience", "1s")
	if !errors.Is(err, bench.ErrFaults) || r.Checks.Different != 6 || r.Checks.Faults() != 6 {
		t.Errorf("%+v, %v", r, err)
	}
}

// What the publisher is told of its message is what the readers see.
func TestPublisherIsToldAnother(t *testing.T) {
	same := func(_, _ int, event string) []string { return []string{event} }
	server := httptest.NewServer(&faulty{change: same, lies: 5, subs: map[string][]chan string{}, next: map[string]int{}})
	defer server.Close()
	defer server.CloseClientConnections()
	r, err := run(t, "--url", server.URL, "--transport", "sse", "--subscribers", "6", "--messages", "20", "--rate", "100", "--publishers", "1", "--patience", "1s")
	if !errors.Is(err, bench.ErrFaults) || r.Checks.Different != 1 || r.Checks.Faults() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A message that waits for the answers to those before it is as late as its
// readers find it.
func TestWaitingForPublishersCounts(t *testing.T) {
	same := func(_, _ int, event string) []string { return []string{event} }
	server := httptest.NewServer(&faulty{change: same, slow: 40 * time.Millisecond, subs: map[string][]chan string{}, next: map[string]int{}})
	defer server.Close()
	defer server.CloseClientConnections()
	r, err := run(t, "--url", server.URL, "--transport", "sse", "--subscribers", "2", "--messages", "20", "--rate", "100", "--publishers", "1")
	if err != nil {
		t.Fatal(err)
	}
	// The last of twenty is due after 190 ms, and nineteen answers take 760 ms.
	if r.Waiting == nil || r.Waiting.Max < 400 || r.Latency.Max < r.Waiting.Max || r.Publish.Max < r.Waiting.Max+40 {
		t.Errorf("waiting %+v, to receive %+v, to answer %+v", r.Waiting, r.Latency, r.Publish)
	}
}

// A message of another room is no message of this one, whatever it says.
func TestMessageOfAnotherRoom(t *testing.T) {
	var mu sync.Mutex
	last := make(map[string]string)
	mixed := func(_, offset int, event string) []string {
		mu.Lock()
		defer mu.Unlock()
		room := roomOf(event)
		last[room] = event
		if offset == 5 {
			for other, theirs := range last {
				_, data, found := strings.Cut(theirs, `"data":`)
				before, _, _ := strings.Cut(event, `"data":`)
				if other != room && found {
					return []string{before + `"data":` + data}
				}
			}
		}
		return []string{event}
	}
	server := httptest.NewServer(&faulty{change: mixed, subs: map[string][]chan string{}, next: map[string]int{}})
	defer server.Close()
	defer server.CloseClientConnections()
	r, err := run(t, "--url", server.URL, "--transport", "sse", "--subscribers", "2", "--rooms", "2", "--messages", "20", "--outstanding", "2",
		"--until", "answered", "--publishers", "1", "--patience", "1s")
	if r == nil || r.Checks.Different == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func roomOf(event string) string {
	_, after, _ := strings.Cut(event, `"room":"`)
	room, _, _ := strings.Cut(after, `"`)
	return room
}
