package stream

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/read"
)

// stay serves a stream through the ResponseWriter.
func (h *Handler) stay(w http.ResponseWriter, r *http.Request, q read.Request, k *kind, form int) {
	g := newGate()
	sub, ok := h.subscribe(w, r, q, k, form, g, nil)
	if !ok {
		return
	}
	c := &response{w: w, rc: http.NewResponseController(w)}
	// The subscriber is done with w before the handler returns.
	defer c.leave()
	w.WriteHeader(http.StatusOK)
	g.Open(c)
	sub.Start()
	h.probe(sub, q, form)
	select {
	case <-r.Context().Done():
		sub.End(hub.End{})
	case <-sub.Done():
	}
	<-sub.Done()
}

// response is a hub connection on a ResponseWriter.
type response struct {
	w  http.ResponseWriter // used by the subscriber's owner until Done
	rc *http.ResponseController

	mu   sync.Mutex
	left bool // guarded by mu: the handler has returned, w is not ours any more
}

func (c *response) TryWrite([]byte) (int, error) { return 0, nil }

func (c *response) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil {
		err = c.rc.Flush()
	}
	return n, err
}

func (c *response) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	return c.SetWriteDeadline(time.Unix(1, 0))
}

func (c *response) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
}
