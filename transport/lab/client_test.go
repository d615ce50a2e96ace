//go:build linux

package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// form is a way of reading.
type form string

const (
	poll   form = "poll"
	sse    form = "sse"      // GET, text/event-stream
	post   form = "sse-post" // POST, text/event-stream
	text   form = "sse-text" // POST, text/plain
	ndjson form = "ndjson"
	ws     form = "ws"
)

var streams = []form{sse, post, text, ndjson}

// envelope is what the lab needs of one.
type envelope struct {
	Type   string          `json:"type"`
	Offset int64           `json:"offset"`
	Epoch  string          `json:"epoch"`
	ID     string          `json:"id"`
	Data   json.RawMessage `json:"data"`
	Cursor string          `json:"cursor"`
	Ref    int             `json:"ref"`
	OK     bool            `json:"ok"`
	Error  *struct {
		Code string `json:"code"`
	} `json:"error"`
}

// refused is an answer that no patience makes better.
type refused struct{ status int }

func (r refused) Error() string { return fmt.Sprintf("refused with %d", r.status) }

// nonce makes every request another one.
var nonce atomic.Int64

// open starts reading a room after a cursor ("" : now). What comes is handed to
// take until that says no, the connection ends or the context does.
func (p *path) open(ctx context.Context, f form, room, cursor string, wait time.Duration, take func(envelope) bool) error {
	q := url.Values{"n": {fmt.Sprint(nonce.Add(1))}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	base := p.url + "/rooms/" + room
	switch f {
	case ws:
		return p.openWS(ctx, base+"/ws?"+q.Encode(), take)
	case poll:
		q.Set("wait", fmt.Sprint(wait.Seconds()))
		return p.poll(ctx, base+"/poll?"+q.Encode(), take)
	case sse:
		return p.stream(ctx, http.MethodGet, base+"?"+q.Encode(), "text/event-stream", "", take)
	case post:
		return p.stream(ctx, http.MethodPost, base+"/sse?n="+q.Get("n"), "text/event-stream", q.Encode(), take)
	case text:
		return p.stream(ctx, http.MethodPost, base+"/sse?n="+q.Get("n"), "text/plain", q.Encode(), take)
	case ndjson:
		return p.stream(ctx, http.MethodGet, base+"/stream?"+q.Encode(), "application/x-ndjson", "", take)
	}
	return errors.New("unknown form " + string(f))
}

func (p *path) do(ctx context.Context, method, target, accept, body string, headers ...string) (*http.Response, func(), error) {
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if method == http.MethodGet {
		r.Body = nil
	} else {
		r.Header.Set("Content-Type", "text/plain")
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	c := p.client()
	resp, err := c.Do(r)
	if err != nil {
		c.CloseIdleConnections()
		return nil, nil, err
	}
	return resp, func() { resp.Body.Close(); c.CloseIdleConnections() }, nil
}

// stream reads SSE or NDJSON: of both, the lines that are JSON objects.
func (p *path) stream(ctx context.Context, method, target, accept, body string, take func(envelope) bool) error {
	resp, done, err := p.do(ctx, method, target, accept, body)
	if err != nil {
		return err
	}
	defer done()
	if resp.StatusCode != http.StatusOK {
		return refused{resp.StatusCode}
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err // a line without its end is no line
		}
		line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e envelope
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return err
		}
		if !take(e) {
			return nil
		}
	}
}

// poll asks once. The cursor comes last, as an envelope of its own type.
func (p *path) poll(ctx context.Context, target string, take func(envelope) bool) error {
	resp, done, err := p.do(ctx, http.MethodGet, target, "application/json", "")
	if err != nil {
		return err
	}
	defer done()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return refused{resp.StatusCode}
	}
	var answer struct {
		Protocol int        `json:"protocol"`
		Messages []envelope `json:"messages"`
		Cursor   string     `json:"cursor"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Protocol != 1 || answer.Cursor == "" {
		return fmt.Errorf("not the answer to a poll: %.80q", body)
	}
	for _, e := range answer.Messages {
		if !take(e) {
			return nil
		}
	}
	take(envelope{Type: "cursor", Cursor: answer.Cursor})
	return nil
}

// dialWS opens a WebSocket on the path. status is that of a refusal.
func (p *path) dialWS(ctx context.Context, target string) (c *websocket.Conn, status int, err error) {
	d := websocket.Dialer{HandshakeTimeout: 5 * time.Second}
	if p.proxy != nil {
		d.Proxy = http.ProxyURL(p.proxy)
	}
	if p.tls {
		d.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the lab's own certificate
	}
	c, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(target, "http"), nil)
	if resp != nil {
		status = resp.StatusCode
	}
	return c, status, err
}

func (p *path) openWS(ctx context.Context, target string, take func(envelope) bool) error {
	c, status, err := p.dialWS(ctx, target)
	if err != nil {
		if status != 0 {
			return refused{status}
		}
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	for {
		_, frame, err := c.ReadMessage()
		if err != nil {
			return err
		}
		var e envelope
		if err := json.Unmarshal(frame, &e); err != nil {
			return err
		}
		if !take(e) {
			return nil
		}
	}
}

// cursorAfter is the place after a message, as a client may build it.
func cursorAfter(room string, e envelope) string {
	return fmt.Sprintf("%s=%s.%d.%s", room, e.Epoch, e.Offset, e.ID)
}

// follow reads a room from a cursor until it has n messages, over as many
// connections as it takes. Every one is given up after cut messages (0: never).
func (p *path) follow(ctx context.Context, f form, room, cursor string, n, cut int) ([]envelope, error) {
	var got []envelope
	var last error
	for len(got) < n {
		if err := ctx.Err(); err != nil {
			return got, fmt.Errorf("%w (%d of %d; the last attempt: %v)", err, len(got), n, last)
		}
		attempt, cancel := context.WithTimeout(ctx, 12*time.Second)
		fresh := 0
		last = p.open(attempt, f, room, cursor, 5*time.Second, func(e envelope) bool {
			switch e.Type {
			case "message":
				got = append(got, e)
				cursor = cursorAfter(room, e)
				fresh++
			case "gap", "bye", "error":
				last = fmt.Errorf("a %s", e.Type)
				return false
			default:
				if e.Cursor != "" {
					cursor = e.Cursor
				}
			}
			return len(got) < n && (cut == 0 || fresh < cut)
		})
		cancel()
		if last != nil && fresh == 0 {
			pause(ctx, 20*time.Millisecond)
		}
	}
	return got, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// result is the answer to a publish.
type result struct {
	Offset    int64 `json:"offset"`
	Duplicate bool  `json:"duplicate"`
}

// publish publishes data with a key, again and again until there is an answer.
func (p *path) publish(ctx context.Context, room, key, data string) (result, int, error) {
	var last error
	for attempts := 1; ; attempts++ {
		if err := ctx.Err(); err != nil {
			return result{}, attempts, fmt.Errorf("%w (the last attempt: %v)", err, last)
		}
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		r, err := p.publishOnce(attempt, room, key, data)
		cancel()
		if err == nil {
			return r, attempts, nil
		}
		var no refused
		if errors.As(err, &no) && no.status < 500 && no.status != 409 && no.status != 429 && no.status != 408 {
			return result{}, attempts, err
		}
		last = err
		pause(ctx, 20*time.Millisecond)
	}
}

func (p *path) publishOnce(ctx context.Context, room, key, data string) (result, error) {
	resp, done, err := p.do(ctx, http.MethodPost, p.url+"/rooms/"+room+"?key="+url.QueryEscape(key), "application/json", data)
	if err != nil {
		return result{}, err
	}
	defer done()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return result{}, refused{resp.StatusCode}
	}
	var r result
	err = json.NewDecoder(resp.Body).Decode(&r)
	if err == nil && r.Offset == 0 {
		err = errors.New("an answer without an offset")
	}
	return r, err
}

// history is all of a room.
func (p *path) history(ctx context.Context, room string) ([]envelope, error) {
	var all []envelope
	for after := "0"; ; {
		resp, done, err := p.do(ctx, http.MethodGet, fmt.Sprintf("%s/rooms/%s/history?after=%s&limit=1000&n=%d", p.url, room, after, nonce.Add(1)), "", "")
		if err != nil {
			return nil, err
		}
		var page struct {
			Messages []envelope
			Cursor   string
			More     bool
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		done()
		if err != nil {
			return nil, err
		}
		all = append(all, page.Messages...)
		if !page.More {
			return all, nil
		}
		after = page.Cursor
	}
}

// ledger compares what arrived with what was sent, which was 0, 1, 2, …
type ledger struct{ lost, repeated, disordered int }

func (l ledger) clean() bool { return l == ledger{} }

func (l ledger) String() string {
	return fmt.Sprintf("%d/%d/%d", l.lost, l.repeated, l.disordered)
}

func audit(arrived []int, n int) (l ledger) {
	seen := map[int]bool{}
	highest := -1
	for _, i := range arrived {
		switch {
		case seen[i]:
			l.repeated++
		case i < highest:
			l.disordered++
		}
		seen[i] = true
		highest = max(highest, i)
	}
	for i := range n {
		if !seen[i] {
			l.lost++
		}
	}
	return l
}

// numbers are the data of messages, where these are numbers.
func numbers(messages []envelope) []int {
	var all []int
	for _, e := range messages {
		var i int
		if json.Unmarshal(e.Data, &i) != nil {
			i = -1
		}
		all = append(all, i)
	}
	return all
}

// contiguous: offsets 1, 2, 3, … of one epoch.
func contiguous(messages []envelope) error {
	for i, e := range messages {
		if e.Offset != int64(i+1) || e.Epoch != messages[0].Epoch {
			return fmt.Errorf("message %d has epoch %s, offset %d", i, e.Epoch, e.Offset)
		}
	}
	return nil
}
