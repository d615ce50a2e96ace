//go:build linux

package lab

import (
	"net/http"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// requestRows are what happens to requests: 18 to 29.
var requestRows = []row{
	{
		number: 18, name: "squid, strips headers",
		start: func(t testing.TB, upstream string) *path {
			return squid(t, upstream, setting{Way: `request_header_access Authorization deny all
request_header_access Cookie deny all
request_header_access Accept deny all
request_header_access Idempotency-Key deny all
request_header_access Last-Event-ID deny all
request_header_access Other deny all`})
		},
		misbehaves: strips("Authorization", "Cookie", "Accept", "Idempotency-Key", "Last-Event-ID", "X-Custom"),
		// Without Accept a GET of the room itself is a poll.
		does: without(noWS, all(held, sse)),
	}, {
		number: 18, name: "own proxy, strips headers",
		start:      boxWith(middlebox.Options{Upgrade: middlebox.UpgradeStrip, Strip: []string{"Authorization", "Cookie", "Accept", "Idempotency-Key", "Last-Event-ID", "X-Custom", "Content-Type"}}),
		misbehaves: strips("Authorization", "Cookie", "Accept", "Idempotency-Key", "Last-Event-ID", "X-Custom"),
		does:       without(noWS, all(held, sse)),
	}, {
		number: 18, name: "own proxy, strips headers of responses",
		start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeStrip, StripResponse: []string{"Cache-Control", "X-Accel-Buffering", "Content-Encoding", "Vary", "Retry-After", "X-Content-Type-Options"},
			Strip: []string{"Accept-Encoding"}}), // or what is compressed could not be read
		does: noWS,
	}, {
		number: 19, name: "nginx, GET and POST only",
		start: nginxWith("limit_except GET POST { deny all; }"+websocketWay, websocketMap, ""), misbehaves: blocksMethods,
	}, {
		number: 19, name: "own proxy, GET and POST only",
		start: boxWith(middlebox.Options{Methods: []string{"GET", "POST"}}), misbehaves: blocksMethods,
	}, {
		number: 20, name: "nginx, caches everything",
		start: func(t testing.TB, upstream string) *path {
			dir := directory(t)
			return nginx(t, upstream, setting{
				Global: "proxy_cache_path " + dir + " keys_zone=lab:1m;",
				Way:    "proxy_cache lab; proxy_cache_valid any 30s; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;",
			})
		},
		misbehaves: caches, does: noWS,
	}, {
		number: 20, name: "squid, caches what says nothing", start: plain(squid), misbehaves: caches, does: noWS,
	}, {
		number: 20, name: "varnish, caches what says nothing", start: plain(varnish), misbehaves: caches, does: noWS,
	}, {
		number: 20, name: "own proxy, caches everything", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Cache: 30 * time.Second}),
		misbehaves: caches, does: noWS,
	}, {
		number: 21, name: "varnish, merges equal GETs", start: plain(varnish), misbehaves: merges, does: noWS,
	}, {
		number: 21, name: "nginx, merges equal GETs",
		start: func(t testing.TB, upstream string) *path {
			dir := directory(t)
			return nginx(t, upstream, setting{
				Global: "proxy_cache_path " + dir + " keys_zone=lab:1m;",
				Way:    "proxy_cache lab; proxy_cache_lock on; proxy_cache_valid any 1s;",
			})
		},
		misbehaves: merges, does: noWS,
	}, {
		number: 21, name: "squid, merges equal GETs",
		start: func(t testing.TB, upstream string) *path {
			return squid(t, upstream, setting{Way: "collapsed_forwarding on"})
		},
		misbehaves: merges, does: noWS,
	}, {
		number: 21, name: "own proxy, merges equal GETs", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Merge: true}),
		misbehaves: merges, does: noWS,
	}, {
		number: 23, name: "nginx, URLs of 1 KB, bodies of 2 KB",
		start:      nginxWith("client_max_body_size 2k;", "large_client_header_buffers 2 1k; client_header_buffer_size 1k;", ""),
		misbehaves: limits, does: noWS,
	}, {
		number: 23, name: "own proxy, URLs of 1 KB, bodies of 2 KB",
		start:      boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, MaxURL: 1 << 10, MaxBody: 2 << 10}),
		misbehaves: limits, does: noWS,
	}, {
		number: 25, name: "nginx, mirrors every request",
		start: func(t testing.TB, upstream string) *path {
			return nginx(t, upstream, setting{Way: "mirror /mirror; mirror_request_body on;",
				More: "location = /mirror { internal; proxy_pass http://" + upstream + "$request_uri; }"})
		},
		misbehaves: repeats(1), does: noWS,
	}, {
		number: 25, name: "nginx, repeats a GET that a reused connection drops",
		start: behind(func(t testing.TB, upstream string) *path {
			return nginx(t, upstream, setting{Global: "upstream kept { server " + upstream + "; keepalive 4; }", Target: "kept",
				Way: `proxy_http_version 1.1; proxy_set_header Connection "";`})
		}, dropsReused),
		misbehaves: replays, does: noWS, refusesSome: true,
	}, {
		number: 25, name: "squid, repeats a GET that a reused connection drops", start: behind(plain(squid), dropsReused),
		misbehaves: replays, does: noWS, refusesSome: true,
	}, {
		number: 25, name: "varnish, repeats a GET that a reused connection drops", start: behind(func(t testing.TB, upstream string) *path {
			return varnish(t, upstream, setting{Way: "sub vcl_recv { return (pass); }"})
		}, dropsReused),
		misbehaves: replays, does: noWS, refusesSome: true,
	}, {
		number: 25, name: "caddy, repeats a GET that a reused connection drops", start: behind(plain(caddy), dropsReused),
		misbehaves: replays, does: noWS, refusesSome: true,
	}, {
		number: 25, name: "own proxy, drops what comes on a reused connection", start: dropsReused,
		misbehaves: dropsReusedConnections, does: noWS,
	}, {
		number: 25, name: "haproxy, retries every POST whose answer is lost",
		start: behind(func(t testing.TB, upstream string) *path {
			return haproxy(t, upstream, setting{Way: "retry-on all-retryable-errors\n    retries 3"})
		}, boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 25, Only: noPostedReads})),
		misbehaves: carriesOutAgain, does: noWS,
	}, {
		number: 25, name: "own proxy, repeats every request", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatAll}),
		misbehaves: repeats(1), does: noWS,
	}, {
		number: 25, name: "own proxy, repeats every POST", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatPOST}),
		misbehaves: repeats(0), does: noWS,
	}, {
		number: 26, name: "nginx, 502 where the answer is lost",
		start: behind(nginxWith("proxy_next_upstream off;", "", ""), boxWith(middlebox.Options{Loss: 0.3, Seed: 26, Only: noPostedReads})),
		does:  noWS, misbehaves: loses(502),
	}, {
		number: 26, name: "apache, 502 where the answer is lost",
		start: behind(plain(apache), boxWith(middlebox.Options{Loss: 0.3, Seed: 27, Only: noPostedReads})),
		does:  noWS, misbehaves: loses(502),
	}, {
		number: 26, name: "own proxy, 30 % of the answers to POST lost", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 28, Only: noPostedReads}),
		does: noWS, misbehaves: loses(0),
	}, {
		number: 26, name: "own proxy, 502 where 30 % of the answers are lost", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, LossStatus: 502, Seed: 29, Only: noPostedReads}),
		does: noWS, misbehaves: loses(502),
	}, {
		number: 27, name: "tinyproxy, CONNECT only to 443",
		start: func(t testing.TB, upstream string) *path {
			return tinyproxyForward(t, upstream, setting{Way: "ConnectPort 443"})
		},
		// A browser opens a WebSocket through a proxy with CONNECT.
		misbehaves: websocketIs(broken), does: all(broken, ws),
	}, {
		number: 27, name: "squid as Debian ships it, CONNECT only to 443",
		start:      squidForward,
		misbehaves: websocketIs(broken), does: all(broken, ws),
	}, {
		number: 29, name: "caddy, HTTP/2 to the client",
		start: func(t testing.TB, upstream string) *path {
			return caddy(t, upstream, setting{More: "https", Way: "tls internal"})
		},
		misbehaves: func(t *testing.T, p *path, o *origin) {
			resp, done, err := p.do(t.Context(), http.MethodGet, p.url+"/request", "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			if resp.ProtoMajor != 2 {
				t.Errorf("it speaks %s", resp.Proto)
			}
			if offersWebSocket(t, p) {
				t.Error("it offers WebSocket over HTTP/2")
			}
		},
	}, {
		number: 29, name: "Go's proxy with http2xconnect=1, offers WebSocket over HTTP/2 and breaks it",
		start: http2Proxy, home: true, onlyHTTP2: true,
		// Node opens WebSockets on HTTP/1.1 only.
		chromium: []string{"sse"}, misbehaves: func(t *testing.T, p *path, o *origin) {
			if !offersWebSocket(t, p) {
				t.Error("it does not offer it")
			}
		},
	}, {
		number: 29, name: "Go's proxy, HTTP/2 to the client, refuses WebSocket",
		start: http2ProxyRefuses, onlyHTTP2: true, misbehaves: websocketIs(refuses), does: noWS,
	},
}

// dropsReused carries out what comes on a connection that was used before, and
// closes the connection instead of answering.
var dropsReused = boxWith(middlebox.Options{DropReused: true, Upgrade: middlebox.UpgradeRefuse})
