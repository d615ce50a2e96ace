//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// polled is the answer to a poll.
type polled struct {
	Messages []envelope
	Cursor   string
	header   http.Header
}

func (p *path) ask(t *testing.T, room, cursor string, wait int, headers ...string) polled {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	place := "from=start"
	if cursor != "" {
		place = "cursor=" + cursor
	}
	target := fmt.Sprintf("%s/rooms/%s/poll?%s&wait=%d&n=%d", p.url, room, place, wait, nonce.Add(1))
	resp, done, err := p.do(ctx, http.MethodGet, target, "", "", headers...)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	body, err := io.ReadAll(resp.Body)
	var a polled
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %.80q %v", resp.StatusCode, body, err)
	}
	a.header = resp.Header
	return a
}

// TestPolls holds polls to what users of other servers miss: behind caches and
// compression, a poll that times out has its cursor and its CORS headers, one
// asked twice gives the same twice, one that waits alone is woken, and pollers
// do not get each other's answers.
func TestPolls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		start func(testing.TB, string) *path
	}{
		{"nginx compresses", nginxWith("gzip on; gzip_proxied any; gzip_types application/json; gzip_min_length 0; gzip_http_version 1.0;", "", "")},
		{"nginx caches", func(t testing.TB, upstream string) *path {
			return nginx(t, upstream, setting{
				Global: "proxy_cache_path " + directory(t) + " keys_zone=lab:1m;",
				Way:    "proxy_cache lab; proxy_cache_lock on; proxy_cache_valid any 30s; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;",
			})
		}},
		{"squid", func(t testing.TB, upstream string) *path {
			return squid(t, upstream, setting{Way: "collapsed_forwarding on"})
		}},
		{"varnish", plain(varnish)},
		{"own proxy caches and merges", boxWith(middlebox.Options{Cache: 30 * time.Second, Merge: true})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p, direct := c.start(t, s.host), &path{url: s.url}
			send := func(i int) {
				t.Helper()
				if _, err := direct.publishOnce(t.Context(), "r", fmt.Sprint("k", i), fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}

			// Timed out, and asked from a page elsewhere.
			origin := "http://127.0.0.1:1"
			empty := p.ask(t, "r", "", 1, "Origin", origin)
			if len(empty.Messages) != 0 || empty.Cursor == "" {
				t.Errorf("a poll that timed out: %+v", empty)
			}
			if got := empty.header.Get("Access-Control-Allow-Origin"); got != origin && got != "*" {
				t.Errorf("a poll that timed out has Access-Control-Allow-Origin %q", got)
			}

			// The same place twice gives the same twice.
			send(0)
			first, second := p.ask(t, "r", empty.Cursor, 5), p.ask(t, "r", empty.Cursor, 5)
			if len(first.Messages) != 1 || len(second.Messages) != 1 || first.Messages[0].ID != second.Messages[0].ID {
				t.Errorf("asked twice: %+v, %+v", first, second)
			}

			// Three that wait at the same place are all woken, each by the next.
			cursor := first.Cursor
			for i := 1; i <= 5; i++ {
				var all sync.WaitGroup
				answers := make([]polled, 3)
				for j := range answers {
					all.Go(func() { answers[j] = p.ask(t, "r", cursor, 10) })
				}
				pause(t.Context(), 100*time.Millisecond) // most of them wait by now; those that do not get it at once
				send(i)
				all.Wait()
				for _, a := range answers {
					if len(a.Messages) != 1 || a.Messages[0].Offset != int64(i+1) {
						t.Fatalf("round %d: %+v", i, a)
					}
				}
				cursor = answers[0].Cursor
			}
		})
	}
}
