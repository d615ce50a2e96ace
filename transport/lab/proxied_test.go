//go:build linux

package lab

import (
	"context"
	"testing"
	"time"
)

// TestBrowserUsesItsProxy makes sure that rows with a forward proxy are what they
// say: Chromium sends nothing past it, and opens WebSockets by CONNECT.
func TestBrowserUsesItsProxy(t *testing.T) {
	t.Parallel()
	for _, rt := range runtimes(t) {
		if rt.name() != "chromium" {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		s := startServer(t)
		p := boxForward(t, s.host)
		e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: []string{"websocket"}, every: 20 * time.Millisecond}
		e.exchange(t) // its times are no matter here
		if stats := p.boxes[0].Stats(); stats.Requests < 2 || stats.Tunnels == 0 {
			t.Errorf("the proxy saw %+v", stats)
		}
	}
}
