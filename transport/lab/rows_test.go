//go:build linux

package lab

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// row is one thing that may stand between.
type row struct {
	// number is that of the catalogue, 0 for a path that does no harm.
	number int
	// name says which software, and what it does.
	name string
	// start puts it in front of the server at upstream, as host:port.
	start func(t testing.TB, upstream string) *path
	// namespace: it needs a network namespace of its own.
	namespace bool
	// misbehaves shows, with a careless origin, that it does what it is here for.
	misbehaves func(t *testing.T, p *path, o *origin)
	// does is what becomes of Culvert's ways of reading, where that is not "good".
	// Polls must always be good.
	does map[form]outcome
	// reach are the transports to one of which the client should come; nil: what
	// follows from does.
	reach []string
	// every is the time between two messages of a client's run, rest a silence
	// amid them: for what happens with time. 0: 50 ms, none.
	every, rest time.Duration
}

// Ways of reading that do not work, put together.
func without(all ...map[form]outcome) map[form]outcome {
	m := map[form]outcome{}
	for _, one := range all {
		for f, o := range one {
			m[f] = o
		}
	}
	return m
}

func all(o outcome, forms ...form) map[form]outcome {
	m := map[form]outcome{}
	for _, f := range forms {
		m[f] = o
	}
	return m
}

var noWS = all(refuses, ws)

// websocketWay makes nginx pass WebSockets on.
const websocketWay = `
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;`

const websocketMap = `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }`

func nginxWith(way, global, more string) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		return nginx(t, upstream, setting{Way: way, Global: global, More: more})
	}
}

func boxWith(o middlebox.Options) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path { return box(t, upstream, o) }
}

// behind puts a path behind another one.
func behind(outer func(testing.TB, string) *path, inner func(testing.TB, string) *path) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		in := inner(t, upstream)
		out := outer(t, in.url[len("http://"):])
		out.boxes = append(out.boxes, in.boxes...)
		return out
	}
}

func refuseUpgrades(status string) func(testing.TB, string) *path {
	return nginxWith(`if ($http_upgrade) { return `+status+`; }`+websocketWay, websocketMap, "")
}

// noPostedReads keeps what happens to POST away from reads by POST, which would
// make the outcome of a probe a matter of luck.
func noPostedReads(r *http.Request) bool {
	return r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/sse")
}

func plain[S any](f func(testing.TB, string, S) *path) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		var zero S
		return f(t, upstream, zero)
	}
}

var rows = []row{
	{
		name: "nothing between", start: func(_ testing.TB, upstream string) *path { return &path{url: "http://" + upstream} },
		misbehaves: harmless,
	}, {
		name: "own proxy, honest", start: boxWith(middlebox.Options{}), misbehaves: harmless,
	}, {
		name: "nginx, set up for WebSocket", start: nginxWith(websocketWay, websocketMap, ""),
	}, {
		name: "caddy", start: plain(caddy), misbehaves: harmless,
	}, {
		number: 1, name: "nginx, bare proxy_pass", start: nginxWith("", "", ""),
		misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "squid in front", start: plain(squid), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "varnish", start: plain(varnish), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "apache", start: plain(apache), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "tinyproxy in front", start: plain(tinyproxy), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "haproxy, del-header upgrade",
		start: func(t testing.TB, upstream string) *path {
			return haproxy(t, upstream, setting{More: "http-request del-header upgrade"})
		},
		misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 403", start: refuseUpgrades("403"), misbehaves: refusesUpgradeWith(403), does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 400", start: refuseUpgrades("400"), misbehaves: refusesUpgradeWith(400), does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 426", start: refuseUpgrades("426"), misbehaves: refusesUpgradeWith(426), does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 502", start: refuseUpgrades("502"), misbehaves: refusesUpgradeWith(502), does: noWS,
	}, {
		number: 2, name: "iptables, upgrade answered with a reset", namespace: true,
		start:      upgradesMeet("REJECT", "--reject-with", "tcp-reset"),
		misbehaves: websocketIs(broken), does: all(broken, ws),
	}, {
		number: 3, name: "iptables, upgrade dropped", namespace: true,
		start: upgradesMeet("DROP"), misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 3, name: "own proxy, upgrade swallowed", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeSwallow}),
		misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 4, name: "privoxy as Debian ships it", start: plain(privoxy),
		misbehaves: websocketIs(silent), does: without(all(silent, ws), all(held, sse, post)),
	}, {
		number: 4, name: "own proxy, 101 then frames dropped", start: boxWith(middlebox.Options{Frames: middlebox.FramesDrop}),
		misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 4, name: "own proxy, 101 then frames held", start: boxWith(middlebox.Options{Frames: middlebox.FramesHold}),
		misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 4, name: "own proxy, 101 then frames spoilt", start: boxWith(middlebox.Options{Frames: middlebox.FramesCorrupt}),
		does: all(broken, ws),
	}, {
		number: 4, name: "own proxy, reset at 8 KB frames", start: boxWith(middlebox.Options{MaxFrame: 8 << 10}),
		does: all(broken, ws),
	}, {
		number: 6, name: "own proxy, WebSocket ends at 5 s", start: boxWith(middlebox.Options{WebSocketAge: 5 * time.Second}),
		misbehaves: endsAfter(5 * time.Second), every: 300 * time.Millisecond,
	}, {
		number: 7, name: "nginx, proxy_read_timeout 2s", start: nginxWith(websocketWay+"proxy_read_timeout 2s;", websocketMap, ""),
		misbehaves: endsAfter(2 * time.Second), rest: 5 * time.Second,
	}, {
		number: 7, name: "haproxy, timeout tunnel 2s",
		start: func(t testing.TB, upstream string) *path {
			return haproxy(t, upstream, setting{Global: "timeout tunnel 2s"})
		},
		misbehaves: endsAfter(2 * time.Second), rest: 5 * time.Second,
	}, {
		number: 8, name: "conntrack forgets after 5 s", namespace: true, start: forgets(5),
		misbehaves: forgotten(5 * time.Second), rest: 8 * time.Second,
	}, {
		number: 8, name: "own proxy, forgets after 5 s idle", start: boxWith(middlebox.Options{IdleTimeout: 5 * time.Second, IdleForget: true}),
		misbehaves: forgotten(5 * time.Second), rest: 8 * time.Second,
	}, {
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
		// The client's last try has 16 KB of filling, and the lab's messages push
		// its events out.
		reach: []string{"poll", "sse"},
	}, {
		number: 12, name: "own proxy, lumps of 4 KB", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Lumps: 4 << 10, Held: middlebox.Streams}),
		misbehaves: holds("GET", "text/event-stream"), does: without(noWS, all(held, streams...)),
		// The client's last try has 16 KB of filling, and the lab's messages push
		// its events out.
		reach: []string{"poll", "sse"},
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
		number: 15, name: "haproxy, delays small chunks", start: plain(haproxy),
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
	}, {
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
		number: 25, name: "haproxy, retries every POST whose answer is lost",
		start: behind(func(t testing.TB, upstream string) *path {
			return haproxy(t, upstream, setting{Way: "retry-on all-retryable-errors\n    retries 3"})
		}, boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 25, Only: noPostedReads})),
		does: noWS,
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
		},
	},
	// Not in the catalogue: networks, and much at once.
	{
		name: "own proxy, one that the browser is told to use", start: boxForward,
	}, {
		name: "own proxy, much at once",
		start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeStrip, HTTP10: true, Hold: middlebox.HoldResponse, Repeat: middlebox.RepeatAll,
			Strip: []string{"Authorization", "Cookie", "Accept", "Idempotency-Key", "Last-Event-ID", "Content-Type"}, Methods: []string{"GET", "POST"},
			MaxURL: 1 << 10, MaxBody: 4 << 10, Loss: 0.3, LossStatus: 502, Cache: 30 * time.Second,
			Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, CapResponse: 10 * time.Second, Seed: 4}),
		does: without(noWS, all(held, streams...)),
	}, {
		name: "own proxy, 150 ms each way and jitter", start: boxWith(middlebox.Options{Delay: 150 * time.Millisecond, Jitter: 50 * time.Millisecond, Seed: 1}),
	}, {
		name: "own proxy, 32 KB a second", start: boxWith(middlebox.Options{BytesPerSecond: 32 << 10}),
		reach: []string{"websocket", "sse"},
	}, {
		name: "own proxy, a tenth of the requests answered 503", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Seed: 3,
			Answer: &middlebox.Answer{Status: 503, Header: http.Header{"Retry-After": {"0"}}, Share: 0.1}}),
		does: noWS,
	}, {
		name: "own proxy, connections die at 20 KB", start: boxWith(middlebox.Options{KillAtBytes: 20 << 10}),
		does:  all(broken, ws),
		reach: []string{"websocket", "sse", "poll"},
	},
}
