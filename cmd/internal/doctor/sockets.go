package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// socket is a WebSocket with one command under way at a time.
type socket struct {
	*websocket.Conn
	ref     int
	drained bool // the server said that it goes
}

// dial makes the handshake.
func (d *doctor) dial(ctx context.Context, query string) (*socket, *http.Response, error) {
	dialer := websocket.Dialer{HandshakeTimeout: d.o.Patience, NetDialContext: d.tunnel, TLSClientConfig: &tls.Config{RootCAs: d.o.roots}}
	c, resp, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(d.base, "http")+d.once("/rooms/"+d.room("ws")+"/ws"+query), nil)
	if err != nil {
		return nil, resp, err
	}
	c.SetReadLimit(1 << 20)
	return &socket{Conn: c}, resp, nil
}

// errCorrupt: a frame came that the server did not send so.
var errCorrupt = errors.New("what came is not what was sent")

// frame is what the doctor needs of an envelope.
type frame struct {
	Type string
	Ref  int
	OK   bool
	Data json.RawMessage
	Fill string
}

// next reads a frame.
func (s *socket) next(patience time.Duration) (f frame, err error) {
	_ = s.SetReadDeadline(time.Now().Add(patience))
	_, text, err := s.ReadMessage()
	if err != nil {
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code == websocket.CloseInvalidFramePayloadData {
			err = errCorrupt // the server found what we sent changed
		}
		return f, err
	}
	if json.Unmarshal(text, &f) != nil || f.Type == "" {
		return f, errCorrupt
	}
	s.drained = s.drained || saysDraining(text)
	return f, nil
}

// ping sends size bytes and wants them, and as many others, back.
func (s *socket) ping(patience time.Duration, size int) error {
	s.ref++
	data := strconv.Quote(strings.Repeat("d", size))
	_ = s.SetWriteDeadline(time.Now().Add(patience))
	command := fmt.Sprintf(`{"type":"ping","ref":%d,"data":%s,"size":%d}`, s.ref, data, size)
	if err := s.WriteMessage(websocket.TextMessage, []byte(command)); err != nil {
		return err
	}
	until := time.Now().Add(patience)
	for {
		f, err := s.next(time.Until(until))
		switch {
		case err != nil:
			return err
		case f.Type == "error":
			return errCorrupt // the server did not understand what we sent
		case f.Type == "reply" && f.Ref == s.ref:
			if !f.OK || string(f.Data) != data || len(f.Fill) != size {
				return errCorrupt
			}
			return nil
		}
	}
}

// sockets tests WebSocket up to the proof that a client wants.
func (d *doctor) sockets(ctx context.Context) {
	const handshake, first, large = "WebSocket handshake", "First frames", "Frame of 16 KB each way"
	var s *socket
	if d.step(ctx, "ws-handshake", handshake, func() (State, string) {
		var resp *http.Response
		var err error
		if s, resp, err = d.dial(ctx, ""); err != nil {
			return Note, d.noHandshake(resp, err)
		}
		return Good, "accepted"
	}) != Good {
		d.skip("ws-frame", first, noWebSocket)
		d.skip("ws-large", large, noWebSocket)
		return
	}
	defer func() { s.Close() }()
	fresh := func() error { // for a test that is made again
		next, _, err := d.dial(ctx, "")
		if err == nil {
			s.Close()
			s = next
		}
		return err
	}
	tried := false
	if d.step(ctx, "ws-frame", first, func() (State, string) {
		if tried && fresh() != nil {
			return Note, "no handshake"
		}
		tried = true
		began := time.Now()
		_, err := s.next(d.o.Patience)
		if err == nil {
			err = s.ping(d.o.Patience, 16)
		}
		if err == nil {
			return Good, fmt.Sprintf("an echo after %d ms", time.Since(began).Milliseconds())
		}
		if errors.Is(err, errCorrupt) {
			d.find("ws_corrupt")
			return Note, errCorrupt.Error()
		}
		if broke(err) {
			d.find("ws_broken")
		} else {
			d.find("ws_silent")
		}
		return Note, reason(err)
	}) != Good {
		d.skip("ws-large", large, noWebSocket)
		return
	}
	tried = false
	d.step(ctx, "ws-large", large, func() (State, string) {
		if tried && fresh() != nil {
			return Note, "no handshake"
		}
		tried = true
		err := s.ping(2*d.o.Patience, 16<<10)
		if err == nil {
			d.websocket = true
			return Good, "both arrived"
		}
		if !d.report.Has("answers_cut") { // then it is not about WebSocket
			d.find("ws_large")
		}
		return Note, reason(err)
	})
}

// noHandshake says why there is no WebSocket.
func (d *doctor) noHandshake(resp *http.Response, err error) string {
	var refused *connectError
	switch {
	case resp != nil && resp.StatusCode == http.StatusUpgradeRequired && serverSays(resp, "upgrade_required"):
		d.find("ws_stripped")
		return "the upgrade is removed"
	case resp != nil:
		d.find("ws_refused", "status", resp.StatusCode)
		return "status " + strconv.Itoa(resp.StatusCode)
	case errors.As(err, &refused):
		d.find("connect_refused", "status", refused.status)
	case !broke(err):
		d.find("ws_swallowed")
	case errors.Is(err, syscall.ECONNRESET), strings.HasSuffix(err.Error(), "EOF"):
		d.find("ws_reset")
	default:
		d.find("ws_failed", "error", reason(err))
	}
	return reason(err)
}

// serverSays reports whether an answer is Culvert's own, with this code, and not
// that of something on the way.
func serverSays(resp *http.Response, code string) bool {
	var body struct {
		Protocol int
		Error    struct{ Code string }
	}
	return json.NewDecoder(resp.Body).Decode(&body) == nil && body.Protocol == 1 && body.Error.Code == code
}

func (d *doctor) skip(id, title, why string) {
	d.tell(id, title, func() (State, string) { return Skipped, why })
}

// idleSocket leaves a WebSocket alone, then asks for a sign of life.
func (d *doctor) idleSocket(ctx context.Context) fate {
	s, began, ok := d.longSocket(ctx)
	if !ok {
		return fate{spent: true, why: didNotOpen}
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	// A sign of life is asked for from another goroutine, while this one reads:
	// after its deadline a gorilla connection can read no more.
	ask := time.AfterFunc(d.o.Idle, func() {
		_ = s.SetWriteDeadline(time.Now().Add(d.o.Patience))
		_ = s.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","ref":1}`))
	})
	defer ask.Stop()
	for until := time.Now().Add(d.o.Idle + d.o.Patience); ; {
		switch f, err := s.next(time.Until(until)); {
		case err != nil && broke(err):
			return fate{after: time.Since(began), drained: s.drained}
		case err != nil:
			return fate{silent: true, after: d.o.Idle}
		case f.Type == "reply":
			return fate{lasted: true, after: d.o.Idle}
		}
	}
}

// longSocket opens a WebSocket on which the server stays quiet.
func (d *doctor) longSocket(ctx context.Context) (*socket, time.Time, bool) {
	s, _, err := d.dial(ctx, "?heartbeat=60")
	if err != nil {
		return nil, time.Time{}, false
	}
	if _, err := s.next(d.o.Patience); err != nil {
		s.Close()
		return nil, time.Time{}, false
	}
	return s, time.Now(), true
}

// busySocket uses a WebSocket every second.
func (d *doctor) busySocket(ctx context.Context) fate {
	s, began, ok := d.longSocket(ctx)
	if !ok {
		return fate{spent: true, why: didNotOpen}
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	for time.Since(began) < d.o.Idle {
		sent := time.Now()
		if err := s.ping(d.o.Patience, 16); err != nil {
			return fate{silent: !broke(err), after: sent.Sub(began), drained: s.drained}
		}
		if !pause(ctx, min(time.Second, d.o.Idle/4)) {
			break
		}
	}
	return fate{lasted: true, after: time.Since(began)}
}
