package doctor

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// form is a way to ask for a stream.
type form struct {
	id, name, method, accept string
}

// forms are in the order in which the browser client tries them.
var forms = []form{
	{"stream-get", "GET event-stream", http.MethodGet, "text/event-stream"},
	{"stream-post", "POST event-stream", http.MethodPost, "text/event-stream"},
	{"stream-text", "POST text/plain", http.MethodPost, "text/plain"},
}

// events is a stream: an answer whose events are taken as they come.
type events struct {
	body       io.Closer
	cancel     context.CancelFunc
	compressed bool
	times      chan time.Time // closed at the end
	bytes      atomic.Int64   // of the body, that have come
	drained    atomic.Bool    // the server said that it goes
}

func (s *events) close() {
	s.cancel()
	s.body.Close()
}

// openStream asks for a stream and returns with the head of the answer.
func (d *doctor) openStream(ctx context.Context, patience time.Duration, f form, params string) (*events, error) {
	ctx, cancel := context.WithCancel(ctx)
	head := time.AfterFunc(patience, cancel)
	defer head.Stop()
	path := d.once("/rooms/" + d.room("stream") + "/sse")
	body := ""
	if f.method == http.MethodPost {
		body = params
	} else {
		path += "&" + params
	}
	// What a browser says, so that whoever compresses for browsers does it now.
	resp, err := d.open(ctx, d.http, f.method, path, body, "Accept", f.accept, "Accept-Encoding", "gzip", "Content-Type", "text/plain")
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &events{body: resp.Body, cancel: cancel, compressed: resp.Header.Get("Content-Encoding") == "gzip", times: make(chan time.Time, 64)}
	go s.read(ctx, resp.Body)
	return s, nil
}

// read notes when events come.
func (s *events) read(ctx context.Context, body io.Reader) {
	defer close(s.times)
	body = &counter{body, &s.bytes}
	if s.compressed {
		z, err := gzip.NewReader(body)
		if err != nil {
			return
		}
		body = z
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "data:") {
			continue
		}
		if saysDraining([]byte(strings.TrimPrefix(lines.Text(), "data:"))) {
			s.drained.Store(true)
			continue
		}
		select {
		case s.times <- time.Now():
		case <-ctx.Done():
			return
		}
	}
}

// counter counts what is read.
type counter struct {
	io.Reader
	n *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// next waits for an event.
func (s *events) next(patience time.Duration) (at time.Time, ended, ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case at, open := <-s.times:
		return at, !open, open
	case <-timer.C:
		return time.Time{}, false, false
	}
}

// What becomes of a stream's first two events, of which the server sends the
// second one 300 ms after the first.
type flow string

const (
	flows    flow = "flows"
	batched  flow = "batched" // both came together
	held     flow = "held back"
	bodyHeld flow = "held back behind its head"
	lumps    flow = "comes in lumps"
	opening  flow = "held back at its beginning"
	packed   flow = "compressed and held back"
	refused  flow = "refused"
)

// together is how close two events are that were sent 300 ms apart and were not
// passed on as they came.
const together = 100 * time.Millisecond

// streams tests the forms of a stream in turn.
func (d *doctor) streams(ctx context.Context) {
	outcome := map[string]flow{}
	why := ""
	for _, f := range forms {
		d.step(ctx, f.id, "Stream: "+f.name, func() (State, string) {
			if f.method == http.MethodPost && !d.canPost {
				outcome[f.name] = refused
				return Skipped, noPost
			}
			result, words := d.flow(ctx, f)
			if outcome[f.name] = result; result == refused {
				why = words
			}
			if result == flows {
				if d.flowing == "" {
					d.flowing = f.name
				}
				return Good, words
			}
			return Note, words
		})
	}
	d.judgeStreams(outcome, why)
}

func (d *doctor) flow(ctx context.Context, f form) (flow, string) {
	result, words := d.probe(ctx, f, "probe=1")
	if result == refused && d.failed > 0 { // on a path where requests fail now and then
		result, words = d.probe(ctx, f, "probe=1")
	}
	if result == batched { // once may be chance
		result, words = d.probe(ctx, f, "probe=1")
	}
	if result != held && result != bodyHeld {
		return result, words
	}
	switch filled, _ := d.probe(ctx, f, "probe=1&pad=16384"); filled {
	case flows:
		// Or was it bad luck? That would not strike twice.
		if again, words := d.probe(ctx, f, "probe=1"); again == flows {
			d.failed++
			return flows, words
		}
		return opening, string(opening)
	case lumps, batched:
		return lumps, string(lumps)
	}
	return result, words
}

func (d *doctor) probe(ctx context.Context, f form, params string) (flow, string) {
	patience := d.streamPatience()
	began := time.Now()
	s, err := d.openStream(ctx, patience, f, params)
	if err != nil {
		if time.Since(began) >= patience {
			return held, "nothing comes"
		}
		return refused, reason(err)
	}
	defer s.close()
	first, ended, ok := s.next(patience)
	switch {
	case ended:
		return refused, "the stream ends at once"
	case !ok && s.compressed:
		return packed, string(packed)
	case !ok && s.bytes.Load() > 0:
		return lumps, "something comes, but not an event"
	case !ok:
		return bodyHeld, "only the head comes"
	}
	second, _, ok := s.next(patience)
	switch {
	case !ok:
		return lumps, "after the first event nothing comes"
	case second.Sub(first) < together:
		return batched, "events arrive together"
	}
	if took := first.Sub(began); d.firstEvent == 0 || took < d.firstEvent {
		d.firstEvent = took
	}
	return flows, fmt.Sprintf("flows, first event after %d ms", first.Sub(began).Milliseconds())
}

// streamPatience is long enough for what is sent to arrive, if it is not held.
func (d *doctor) streamPatience() time.Duration { return 2*d.rtt + d.o.Patience/2 }

// judgeStreams concludes what is common to the forms, and what is not.
func (d *doctor) judgeStreams(outcome map[string]flow, why string) {
	var good, bad []string
	kinds := map[flow]bool{}
	for _, f := range forms {
		if result := outcome[f.name]; result == flows {
			good = append(good, f.name)
		} else {
			bad = append(bad, f.name)
			kinds[result] = true
		}
	}
	codes := []struct {
		kind flow
		code string
	}{
		{packed, "streams_compressed"}, {opening, "streams_first"}, {lumps, "streams_lumps"},
		{batched, "streams_batched"}, {bodyHeld, "streams_body_held"}, {held, "streams_held"},
	}
	for _, c := range codes {
		// Held in one form only is told by the difference.
		if kinds[c.kind] && (len(good) == 0 || c.kind != held && c.kind != bodyHeld) {
			d.find(c.code)
		}
	}
	// Much later than a connection takes to open and an answer to come, in every
	// form.
	if late := d.firstEvent - d.rtt; len(good) > 0 && late > 3*d.rtt+150*time.Millisecond {
		d.find("streams_late", "ms", late.Milliseconds())
	}
	if len(good) > 0 && len(bad) > 0 && d.canPost {
		d.find("streams_differ", "good", strings.Join(good, " and "), "bad", strings.Join(bad, " and "))
	}
	if len(good) == 0 && len(kinds) == 1 && kinds[refused] {
		d.find("streams_refused", "error", why)
	}
}

// busyStream reads a stream that has something every second.
func (d *doctor) busyStream(ctx context.Context) fate {
	i := slices.IndexFunc(forms, func(f form) bool { return f.name == d.flowing })
	if i < 0 {
		return fate{spent: true, why: didNotOpen}
	}
	s, err := d.openStream(ctx, d.o.Patience, forms[i], "heartbeat=1")
	if err != nil {
		return fate{spent: true, why: didNotOpen}
	}
	defer s.close()
	began, last := time.Now(), time.Now()
	for time.Since(began) < max(d.o.Wait, d.o.Idle) {
		at, ended, ok := s.next(time.Second + d.o.Patience)
		if ended {
			return fate{after: time.Since(began), drained: s.drained.Load()}
		}
		if !ok {
			return fate{silent: true, after: last.Sub(began)}
		}
		last = at
	}
	return fate{lasted: true, after: time.Since(began)}
}
