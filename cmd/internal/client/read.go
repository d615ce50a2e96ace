package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Envelope is one line of the stream.
type Envelope struct {
	Type   string          `json:"type"`
	Room   string          `json:"room"`
	Offset uint64          `json:"offset"`
	Epoch  string          `json:"epoch"`
	ID     string          `json:"id"`
	Data   json.RawMessage `json:"data"`

	// Of a gap.
	Reason string `json:"reason"`
	To     string `json:"to"`
	Missed uint64 `json:"missed"`

	// Of hello, heartbeat and bye.
	Client    string  `json:"client"`
	Cursor    string  `json:"cursor"`
	Heartbeat float64 `json:"heartbeat"` // seconds
	AfterMS   int64   `json:"after_ms"`
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	Reconnect string  `json:"reconnect"`
	Error     *Error  `json:"error"`

	// Line is the envelope as it came.
	Line []byte `json:"-"`
}

// Read says what to read.
type Read struct {
	Rooms []string
	// Where to start: Cursor, else the newest Last messages where Last is not
	// negative, else the oldest where Oldest is set, else what comes.
	Cursor   string
	Last     int
	Oldest   bool
	Presence bool
}

// Reader reads rooms, over as many connections as it takes.
type Reader struct {
	client *Client
	read   Read
	name   string // the client name of the first hello: the same one comes back
	places map[string]string
}

// NewReader makes a reader; Run starts it.
func (c *Client) NewReader(r Read) *Reader {
	return &Reader{client: c, read: r, places: make(map[string]string)}
}

// Cursor is the place after the last envelope that was handled, "" before the
// first connection. It may be called after Run has returned.
func (r *Reader) Cursor() string {
	var parts []string
	for room, position := range r.places {
		parts = append(parts, room+"="+position)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// ErrStop is for the handle of Run to return where it has handled an envelope
// and wants no more.
var ErrStop = errors.New("no more is wanted")

// Run calls handle for every message, gap and presence event until handle
// returns an error, ctx ends, or the server says that the request will never be
// answered otherwise; it returns that error. What handle refused with an error
// other than ErrStop counts as not handled.
func (r *Reader) Run(ctx context.Context, handle func(*Envelope) error) error {
	for n := 0; ; n++ {
		progress, err := r.connect(ctx, handle)
		var stop stopError
		switch {
		case errors.As(err, &stop):
			return stop.error
		case ctx.Err() != nil:
			return ctx.Err()
		}
		after, ok := temporary(err)
		if !ok {
			return err
		}
		if progress {
			n = 0
		}
		if err := r.client.wait(ctx, n, after, err); err != nil {
			return err
		}
	}
}

// stopError wraps what handle returned.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

// patience is how long a connection may be silent: two heartbeats and a little
// for the way. Before hello tells the interval, it is the server's default.
func patience(heartbeat time.Duration) time.Duration { return 2*heartbeat + 5*time.Second }

const defaultHeartbeat = 15 * time.Second

var errSilent = errors.New("nothing was heard from the server, not even a heartbeat")

// connect reads one connection to its end. progress tells that it brought
// something.
func (r *Reader) connect(ctx context.Context, handle func(*Envelope) error) (progress bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := patience(defaultHeartbeat)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	resp, err := r.open(ctx)
	if err != nil {
		return false, causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, readError(resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		watchdog.Reset(silence)
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		e := new(Envelope)
		if err := json.Unmarshal(lines.Bytes(), e); err != nil || e.Type == "" {
			return progress, errForeign
		}
		e.Line = slices.Clone(lines.Bytes())
		progress = true
		if e.Heartbeat > 0 {
			silence = patience(time.Duration(e.Heartbeat * float64(time.Second)))
		}
		if err := r.take(e, handle); err != nil {
			return progress, err
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return progress, causeOf(ctx, err)
}

// maxLine bounds a line; messages are 64 KiB by default.
const maxLine = 64 << 20

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// take handles one envelope and then moves on: what handle did not take is
// read again.
func (r *Reader) take(e *Envelope, handle func(*Envelope) error) error {
	var stop error
	switch e.Type {
	case "message", "gap", "presence":
		if err := handle(e); err != nil {
			stop = stopError{err}
		}
		if stop != nil && !errors.Is(stop, ErrStop) {
			return stop
		}
	case "error":
		if e.Error != nil {
			return e.Error
		}
	}
	switch {
	case e.Type == "message" && e.Offset > 0:
		r.places[e.Room] = e.Epoch + "." + strconv.FormatUint(e.Offset, 10) + "." + e.ID
	case e.Type == "gap":
		r.move(e.To)
	case e.Type == "hello":
		r.name = e.Client
		r.move(e.Cursor)
	case e.Cursor != "":
		r.move(e.Cursor)
	}
	if e.Type == "bye" {
		return &Error{Code: e.Code, Message: e.Message, After: e.AfterMS, Temporary: e.Reconnect != "never"}
	}
	return stop
}

// move takes over the places of a cursor.
func (r *Reader) move(cursor string) {
	for part := range strings.SplitSeq(cursor, ",") {
		if room, position, ok := strings.Cut(part, "="); ok {
			r.places[room] = position
		}
	}
}

// open asks for the stream. The parameters are in the body: the cursor of many
// rooms is longer than what some proxies take as a URL.
func (r *Reader) open(ctx context.Context) (*http.Response, error) {
	q := make(url.Values)
	if cursor := r.Cursor(); cursor != "" {
		q.Set("cursor", cursor)
	} else if r.read.Cursor != "" {
		q.Set("cursor", r.read.Cursor)
	}
	// These also apply to rooms that the cursor lacks.
	if r.read.Last >= 0 {
		q.Set("last", strconv.Itoa(r.read.Last))
	}
	if r.read.Oldest {
		q.Set("from", "start")
	}
	if r.read.Presence {
		q.Set("presence", "1")
	}
	if r.name != "" {
		q.Set("client", r.name)
	}
	target := fmt.Sprintf("%s/rooms/%s/stream", r.client.base, strings.Join(r.read.Rooms, ","))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(q.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/x-ndjson")
	return r.client.do(req)
}
