package ws

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// silences is how many times in a row a connection may be found silent before
// it is ended.
const silences = 3

var (
	errSealed = errors.New("only the subscriber writes")
	errSilent = errors.New("nothing came from the client")
	errLate   = errors.New("the message did not arrive in time")
)

// guard is the connection that gorilla reads from. After the handshake it
// refuses gorilla's own writes (on a protocol error, on a message over the
// limit): they would land inside a frame that is being written.
type guard struct {
	net.Conn
	sealed atomic.Bool

	// owned by the reading goroutine
	interval time.Duration // of silence after which the client is asked for a sign
	ask      func()
	silent   int
	until    time.Time // when the message under way must be here; zero for none
	failed   error     // what ended the reading, nil where gorilla's judgement did
}

func (g *guard) Write(p []byte) (int, error) {
	if g.sealed.Load() {
		return 0, errSealed
	}
	return g.Conn.Write(p)
}

// Read reads, and asks a silent client for a sign of life.
func (g *guard) Read(p []byte) (int, error) {
	for {
		deadline := time.Time{}
		if g.interval > 0 {
			deadline = time.Now().Add(g.interval)
		}
		late := !g.until.IsZero() && (deadline.IsZero() || g.until.Before(deadline))
		if late {
			deadline = g.until
		}
		if err := g.Conn.SetReadDeadline(deadline); err != nil {
			g.failed = err
			return 0, err
		}
		n, err := g.Conn.Read(p)
		if n > 0 {
			g.silent = 0
			return n, nil // An error comes again with the next Read.
		}
		switch {
		case err == nil:
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded):
		case late:
			err = errLate
		default:
			if g.silent++; g.silent < silences {
				g.ask()
				continue
			}
			err = errSilent
		}
		g.failed = err
		return 0, err
	}
}

// hijack is a ResponseWriter that hands out a guarded connection.
type hijack struct {
	http.ResponseWriter
	guard *guard
}

func (w *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.guard = &guard{Conn: nc}
	return w.guard, brw, nil
}

// upgrade does the handshake, with compression or without. Where it fails the
// request has been answered.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, deflate bool) (*websocket.Conn, *guard, bool) {
	hw := &hijack{ResponseWriter: w}
	upgrader := &h.upgrader
	if deflate {
		upgrader = &h.deflating
	}
	ws, err := upgrader.Upgrade(hw, r, nil)
	if err != nil {
		if hw.guard != nil {
			hw.guard.Conn.Close()
		}
		return nil, nil, false
	}
	hw.guard.sealed.Store(true)
	return ws, hw.guard, true
}
