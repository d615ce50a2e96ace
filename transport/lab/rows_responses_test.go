//go:build linux

package lab

import (
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// responseRows are what happens to responses: 10 to 17.
var responseRows = []row{
	{
		number: 10, name: "privoxy, filters all text",
		start: func(t testing.TB, upstream string) *path {
			return privoxy(t, upstream, setting{More: "{+filter{refresh-tags} +force-text-mode}\n/\n"})
		},
		misbehaves: holds("GET", "text/plain"), does: without(all(silent, ws), all(held, streams...)),
	}, {
		number: 10, name: "own proxy, responses held until they end", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}),
		misbehaves: holds("GET", "text/plain"), does: without(noWS, all(held, streams...)),
	}, {
		number: 11, name: "own proxy, header passes, body held", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldBody}),
		misbehaves: holds("POST", "text/plain"), does: without(noWS, all(held, streams...)),
	}, {
		number: 12, name: "nginx, 4 KB lumps", start: nginxWith("proxy_ignore_headers X-Accel-Buffering;", "", ""),
		misbehaves: holds("GET", "text/event-stream"), does: without(noWS, all(held, streams...)),
	}, {
		number: 12, name: "own proxy, lumps of 4 KB", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Lumps: 4 << 10, Held: middlebox.Streams}),
		misbehaves: holds("GET", "text/event-stream"), does: without(noWS, all(held, streams...)),
	}, {
		number: 12, name: "own proxy, first 2 KB held", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, HoldFirst: 2 << 10, Held: middlebox.Streams}),
		does: without(noWS, all(held, streams...)),
		// The client's last try has 16 KB of filling.
		reach: []string{"sse"},
	}, {
		number: 12, name: "own proxy, what comes in 5 s goes together", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Batch: 5 * time.Second, Held: middlebox.Streams}),
		misbehaves: holds("GET", "text/event-stream"), does: without(noWS, all(held, streams...)),
	}, {
		number: 13, name: "nginx, compresses and holds",
		start:      nginxWith("gzip on; gzip_proxied any; gzip_types text/event-stream text/plain application/x-ndjson; gzip_min_length 0; gzip_http_version 1.0; proxy_buffering on; proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering;", "", ""),
		misbehaves: holds("GET", "text/event-stream"), does: noWS,
	}, {
		number: 13, name: "nginx, compresses everything else",
		start: nginxWith("gzip on; gzip_proxied any; gzip_types application/json application/javascript text/javascript; gzip_min_length 0; gzip_http_version 1.0;", "", ""),
		does:  noWS,
	}, {
		number: 13, name: "own proxy, compresses and holds", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, GzipHold: true, Held: middlebox.Streams}),
		misbehaves: holds("GET", "text/event-stream"), does: without(noWS, all(held, streams...)),
	}, {
		number: 14, name: "privoxy: event-stream held, text passes", start: plain(privoxy),
		misbehaves: func(t *testing.T, p *path, o *origin) {
			if p.flows(t, "GET", "text/event-stream", "") || !p.flows(t, "GET", "text/plain", "") {
				t.Error("it makes no difference between them")
			}
		},
		does: without(all(silent, ws), all(held, sse, post)),
	}, {
		number: 14, name: "nginx: event-stream compressed and held, text passes",
		start: nginxWith("gzip on; gzip_proxied any; gzip_types text/event-stream; gzip_min_length 0; gzip_http_version 1.0; proxy_buffering on; proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering;", "", ""),
		misbehaves: func(t *testing.T, p *path, o *origin) {
			if p.flows(t, "GET", "text/event-stream", "") || !p.flows(t, "GET", "text/plain", "") {
				t.Error("it makes no difference between them")
			}
		},
		does: noWS,
	}, {
		number: 14, name: "own proxy: GET event-stream held, POST passes", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldBody, Held: middlebox.GETEventStreams}),
		misbehaves: func(t *testing.T, p *path, o *origin) {
			if p.flows(t, "GET", "text/event-stream", "") || !p.flows(t, "POST", "text/event-stream", "") {
				t.Error("it makes no difference between them")
			}
		},
		does: without(noWS, all(held, sse)),
	}, {
		number: 14, name: "own proxy: event-stream held, text passes", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldBody, Held: middlebox.EventStreams}),
		does: without(noWS, all(held, sse, post)),
	}, {
		number: 15, name: "haproxy, delays small chunks", start: plain(haproxy), misbehaves: delaysChunks,
	}, {
		number: 16, name: "nginx, proxy_read_timeout 10s", start: nginxWith("proxy_read_timeout 10s;", "", ""),
		misbehaves: capsAt(10*time.Second, 504), does: noWS, rest: 12 * time.Second,
	}, {
		number: 16, name: "own proxy, responses cut at 3 s", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, CapResponse: 3 * time.Second}),
		misbehaves: capsAt(3*time.Second, 504), does: noWS, every: 200 * time.Millisecond, rest: 5 * time.Second,
	}, {
		number: 17, name: "apache, HTTP/1.0 upstream",
		start: func(t testing.TB, upstream string) *path {
			return apache(t, upstream, setting{Way: "SetEnv force-proxy-request-1.0 1\nSetEnv proxy-nokeepalive 1"})
		},
		misbehaves: speaks10, does: noWS,
	}, {
		number: 17, name: "privoxy, HTTP/1.0",
		start: func(t testing.TB, upstream string) *path {
			return privoxy(t, upstream, setting{More: "{+downgrade-http-version}\n/\n"})
		},
		misbehaves: speaks10, does: without(all(silent, ws), all(held, sse, post)),
	}, {
		number: 17, name: "own proxy, HTTP/1.0", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeStrip, HTTP10: true}),
		misbehaves: speaks10, does: noWS,
	},
}
