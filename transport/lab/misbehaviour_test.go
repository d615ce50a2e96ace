//go:build linux

package lab

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMisbehaviour shows that what stands between does what its row says, to an
// origin that takes no measures.
func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	for _, r := range rows {
		if r.misbehaves == nil {
			continue
		}
		t.Run(r.title(), func(t *testing.T) {
			t.Parallel()
			if r.namespace && inNamespace(t) {
				return
			}
			o := startOrigin(t)
			r.misbehaves(t, r.start(t, o.host), o)
		})
	}
}

func (r row) title() string {
	if r.number == 0 {
		return r.name
	}
	return fmt.Sprintf("%d %s", r.number, r.name)
}

func harmless(t *testing.T, p *path, o *origin) {
	if out, status := p.echoes(t); out != good {
		t.Errorf("WebSocket: %s %d", out, status)
	}
	if !p.flows(t, "GET", "text/event-stream", "") {
		t.Error("a stream does not flow")
	}
}

func stripsUpgrade(t *testing.T, p *path, _ *origin) {
	s := p.sees(t, "GET", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
	if s.Header.Get("Upgrade") != "" {
		t.Errorf("the upgrade passed: %v", s.Header)
	}
	if out, _ := p.echoes(t); out != refuses {
		t.Errorf("WebSocket: %s", out)
	}
}

func refusesUpgradeWith(want int) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, o *origin) {
		if out, status := p.echoes(t); out != refuses || status != want {
			t.Errorf("WebSocket: %s %d", out, status)
		}
		if n := o.count("GET /ws"); n != 0 {
			t.Error("the origin saw the upgrade")
		}
		if s := p.sees(t, "GET"); s.Method != "GET" {
			t.Errorf("a plain request: %+v", s)
		}
	}
}

func websocketIs(want outcome) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, _ *origin) {
		if out, status := p.echoes(t); out != want {
			t.Errorf("WebSocket: %s %d", out, status)
		}
		if s := p.sees(t, "GET"); s.Method != "GET" {
			t.Errorf("a plain request: %+v", s)
		}
	}
}

// endsAfter: a WebSocket without traffic ends, and one hears of it.
func endsAfter(want time.Duration) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, _ *origin) {
		if lived, heard := p.silence(t, want+20*time.Second); !heard || lived < want-time.Second {
			t.Errorf("it lived %v; its end was heard of: %v", lived, heard)
		}
	}
}

// forgotten: a WebSocket without traffic for so long is dead, and nobody says so.
func forgotten(after time.Duration) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, _ *origin) {
		if out, _ := p.echoes(t); out != good {
			t.Errorf("WebSocket: %s", out)
		}
		c, _, err := p.dialWS(t.Context(), p.url+"/ws")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		pause(t.Context(), after+3*time.Second)
		_ = c.WriteMessage(1, []byte("hello"))
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, text, err := c.ReadMessage(); !timeout(err) {
			t.Errorf("got %q, %v", text, err)
		}
	}
}

func holds(method, kind string) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, _ *origin) {
		if p.flows(t, method, kind, "") {
			t.Errorf("a stream of %s flows", kind)
		}
	}
}

func capsAt(want time.Duration, status int) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, _ *origin) {
		began := time.Now()
		if got := p.status(t, "GET", "/hits?ms=30000", ""); got != status || time.Since(began) < want-time.Second {
			t.Errorf("%d after %v", got, time.Since(began))
		}
	}
}

func speaks10(t *testing.T, p *path, _ *origin) {
	if s := p.sees(t, "GET"); s.Proto != "HTTP/1.0" {
		t.Errorf("the origin saw %s", s.Proto)
	}
}

func strips(names ...string) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, _ *origin) {
		var headers []string
		for _, n := range names {
			headers = append(headers, n, "lab")
		}
		s := p.sees(t, "GET", headers...)
		for _, n := range names {
			if s.Header.Get(n) == "lab" {
				t.Errorf("%s passed", n)
			}
		}
	}
}

func blocksMethods(t *testing.T, p *path, _ *origin) {
	for _, method := range []string{"PUT", "DELETE", "OPTIONS"} {
		if got := p.status(t, method, "/request", ""); got != http.StatusForbidden {
			t.Errorf("%s: %d", method, got)
		}
	}
	for _, method := range []string{"GET", "POST"} {
		if got := p.status(t, method, "/request", ""); got != http.StatusOK {
			t.Errorf("%s: %d", method, got)
		}
	}
}

func caches(t *testing.T, p *path, _ *origin) {
	if first, second := p.hit(t, "/hits?x=1"), p.hit(t, "/hits?x=1"); first != 1 || second != 1 {
		t.Errorf("hits %d, %d", first, second)
	}
}

func merges(t *testing.T, p *path, o *origin) {
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { p.hit(t, "/hits?ms=1500") })
	}
	all.Wait()
	if n := o.count("GET /hits?ms=1500"); n != 1 {
		t.Errorf("3 requests reached the origin as %d", n)
	}
}

func limits(t *testing.T, p *path, _ *origin) {
	if got := p.status(t, "GET", "/request?x="+strings.Repeat("x", 3000), ""); got != http.StatusRequestURITooLong {
		t.Errorf("a long URL: %d", got)
	}
	if got := p.status(t, "POST", "/request", strings.Repeat("x", 3000)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", got)
	}
}

// repeats: a POST arrives twice, a GET once and again so many times.
func repeats(gets int) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, o *origin) {
		p.status(t, "POST", "/request?id=1", "x")
		p.status(t, "GET", "/request?id=1", "")
		// The repeat may come after the answer.
		deadline := time.Now().Add(10 * time.Second)
		for time.Now().Before(deadline) && (o.count("POST /request?id=1") != 2 || o.count("GET /request?id=1") != 1+gets) {
			time.Sleep(10 * time.Millisecond) // nothing tells us of an origin's hit
		}
		if posts, got := o.count("POST /request?id=1"), o.count("GET /request?id=1"); posts != 2 || got != 1+gets {
			t.Errorf("%d POSTs, %d GETs", posts, got)
		}
	}
}

// loses: every POST is carried out once, some are answered with status.
func loses(status int) func(*testing.T, *path, *origin) {
	return func(t *testing.T, p *path, o *origin) {
		lost := 0
		for i := range 30 {
			target := fmt.Sprintf("/request?id=%d", i)
			if got := p.status(t, "POST", target, "x"); got == status {
				lost++
			} else if got != http.StatusOK {
				t.Errorf("status %d", got)
			}
			if n := o.count("POST " + target); n != 1 {
				t.Errorf("carried out %d times", n)
			}
		}
		if lost == 0 || lost == 30 {
			t.Errorf("%d of 30 lost", lost)
		}
	}
}

// delaysChunks: small chunks of a stream come 200 ms late. Two of the eight may
// be late for other reasons.
func delaysChunks(t *testing.T, p *path, _ *origin) {
	late := 0
	for _, d := range p.delays(t) {
		if d > 150*time.Millisecond {
			late++
		}
	}
	if late < 3 {
		t.Errorf("%d of %d chunks were late", late, beats)
	}
}

// replays: behind it, what comes on a connection that was used before is carried
// out and not answered. It sends a GET again, and its client sees nothing of it.
func replays(t *testing.T, p *path, o *origin) {
	twice := 0
	for i := range 20 {
		target := fmt.Sprintf("/request?id=%d", i)
		if got := p.status(t, "GET", target, ""); got != http.StatusOK {
			t.Errorf("GET %d: %d", i, got)
		}
		if o.count("GET "+target) > 1 {
			twice++
		}
	}
	if twice == 0 {
		t.Error("no GET reached the origin twice")
	}
}

// dropsReusedConnections: the second request of a connection is carried out and
// not answered.
func dropsReusedConnections(t *testing.T, p *path, o *origin) {
	c := p.client()
	defer c.CloseIdleConnections()
	for i, want := range []bool{true, false} {
		target := fmt.Sprintf("/request?id=%d", i)
		resp, err := c.Post(p.url+target, "text/plain", strings.NewReader("x"))
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if n := o.count("POST " + target); (err == nil) != want || n != 1 {
			t.Errorf("POST %d: %v, carried out %d times", i, err, n)
		}
	}
}

// carriesOutAgain: a POST whose answer is lost reaches the origin again.
func carriesOutAgain(t *testing.T, p *path, o *origin) {
	most := 0
	for i := range 30 {
		target := fmt.Sprintf("/request?id=%d", i)
		if got := p.status(t, "POST", target, "x"); got != http.StatusOK {
			t.Errorf("POST %d: %d", i, got)
		}
		most = max(most, o.count("POST "+target))
	}
	if most < 2 {
		t.Error("every POST was carried out once")
	}
}

// TestLongURLs shows that software as it comes refuses URLs that a client might
// make of a long list of rooms.
func TestLongURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		start func(testing.TB, string) *path
	}{
		{"nginx", nginxWith("", "", "")}, {"apache", plain(apache)}, {"haproxy", plain(haproxy)}, {"squid", plain(squid)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := c.start(t, startOrigin(t).host)
			for length, fine := range map[int]bool{1500: true, 16 << 10: false} {
				got := p.status(t, "GET", "/request?x="+strings.Repeat("x", length), "")
				if (got == http.StatusOK) != fine {
					t.Errorf("a URL of %d bytes: %d", length, got)
				}
			}
		})
	}
}
