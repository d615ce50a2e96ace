//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// outcome is what a path does to a way of reading.
type outcome string

const (
	good    outcome = "good"
	refuses outcome = "refused" // an answer, but not the one asked for
	silent  outcome = "silent"  // no answer
	held    outcome = "held"    // nothing of the body
	late    outcome = "late"    // the beginning comes, the rest does not
	broken  outcome = "broken"  // breaks before its time
)

// patience is how long a probe waits before it calls a path bad. The machine
// may be busy; good paths do not use it up.
const patience = 4 * time.Second

// probe finds out what the path does to a form. direct is a way to the server
// with nothing between.
func (p *path) probe(ctx context.Context, direct *path, f form, room string) (outcome, error) {
	if f == ws {
		return p.probeWS(ctx, room)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// From a place that is known, so that it does not matter which comes first,
	// the reader or the message.
	begin, err := direct.newest(ctx, room)
	if err != nil {
		return "", err
	}
	type arrival struct {
		kind string
		err  error
	}
	arrivals := make(chan arrival, 16)
	go func() {
		err := p.open(ctx, f, room, begin, 2*patience, func(e envelope) bool {
			arrivals <- arrival{kind: e.Type}
			return true
		})
		arrivals <- arrival{kind: "end", err: err}
	}()
	await := func(kind string) (string, error) {
		timeout := time.After(patience)
		for {
			select {
			case a := <-arrivals:
				if a.kind == kind || a.kind == "end" {
					return a.kind, a.err
				}
			case <-timeout:
				return "", nil
			}
		}
	}
	ended := func(err error) outcome {
		if errors.As(err, &refused{}) {
			return refuses
		}
		return broken
	}
	if f == poll {
		pause(ctx, 300*time.Millisecond) // let it begin to wait
		if _, err := direct.publishOnce(ctx, room, "first", "0"); err != nil {
			return "", err
		}
		switch kind, err := await("message"); kind {
		case "message":
			return good, nil
		case "end":
			return ended(err), err
		}
		return silent, nil
	}
	switch kind, err := await("hello"); kind {
	case "end":
		return ended(err), err
	case "":
		return held, nil
	}
	// Two, so that one does not push the other out.
	for i := range 2 {
		if _, err := direct.publishOnce(ctx, room, fmt.Sprint("probe", i), fmt.Sprint(i)); err != nil {
			return "", err
		}
		switch kind, err := await("message"); kind {
		case "end":
			return ended(err), err
		case "":
			return late, nil
		}
	}
	return good, nil
}

// newest is the cursor of what comes from now on.
func (p *path) newest(ctx context.Context, room string) (string, error) {
	var cursor string
	err := p.open(ctx, poll, room, "", 0, func(e envelope) bool { cursor = e.Cursor; return true })
	return cursor, err
}

// probeWS is the proof by round trip, with a frame of 16 KiB each way.
func (p *path) probeWS(ctx context.Context, room string) (outcome, error) {
	c, status, err := p.dialWS(ctx, p.url+"/rooms/"+room+"/ws")
	if err != nil {
		if status != 0 && status != http.StatusSwitchingProtocols {
			return refuses, refused{status}
		}
		if timeout(err) {
			return silent, err
		}
		return broken, err
	}
	defer c.Close()
	fill, _ := json.Marshal(strings.Repeat("x", 16<<10))
	if err := c.WriteJSON(map[string]any{"type": "ping", "ref": 1, "data": json.RawMessage(fill), "size": 16 << 10}); err != nil {
		return broken, err
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		var e envelope
		if err := c.ReadJSON(&e); err != nil {
			if timeout(err) {
				return silent, nil
			}
			return broken, err
		}
		if e.Type == "reply" && e.Ref == 1 {
			if string(e.Data) != string(fill) {
				return broken, errors.New("the frame came back changed")
			}
			return good, nil
		}
	}
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
