package stream

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/read"
)

// stay serves a stream through the ResponseWriter.
func (h *Handler) stay(w http.ResponseWriter, r *http.Request, q read.Request, k *kind, form int) {
	g := new(gate)
	sub, ok := h.subscribe(w, r, q, k, form, g, nil)
	if !ok {
		return
	}
	c := &response{w: w, rc: http.NewResponseController(w)}
	h.staying.Add(1)
	defer h.staying.Add(-1)
	// The subscriber is done with w before the handler returns.
	defer c.leave()
	w.WriteHeader(http.StatusOK)
	g.Open(c)
	sub.Start()
	h.probe(sub, q, form)
	select {
	case <-r.Context().Done():
		if !c.late() { // else that is why, and the subscriber's writer says so
			sub.End(hub.End{})
		}
	case <-sub.Done():
	}
	<-sub.Done()
}

// response is a hub connection on a ResponseWriter.
type response struct {
	w  http.ResponseWriter // used by the subscriber's owner until Done
	rc *http.ResponseController

	mu       sync.Mutex
	left     bool      // guarded by mu: the handler has returned, w is not ours any more
	deadline time.Time // guarded by mu; of the Write under way
}

// Near does nothing: here nothing is written without waiting.
func (c *response) Near() {}

func (c *response) TryWrite([]byte) (int, error) { return 0, nil }

func (c *response) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil {
		err = c.rc.Flush()
	}
	if err != nil && c.late() {
		// HTTP/2 resets the stream at the deadline, and does not say why.
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

// late reports whether the deadline has passed.
func (c *response) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

func (c *response) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.setWriteDeadlineLocked(t)
}

func (c *response) setWriteDeadlineLocked(t time.Time) error {
	if c.left {
		return http.ErrHandlerTimeout
	}
	if err := c.rc.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// CloseWrite ends nothing by itself: the answer ends when the handler returns.
func (c *response) CloseWrite() error { return nil }

// Close makes a Write under way return, where the ResponseWriter can do that.
func (c *response) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setWriteDeadlineLocked(time.Unix(1, 0))
}

func (c *response) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
}
